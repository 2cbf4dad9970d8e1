module example/lister

go 1.26
