import sys

from image_factory_app.cli import main

sys.exit(main())
