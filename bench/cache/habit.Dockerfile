# How most toolbox images are written: packages first, then the code, then the user.
ARG BASE
FROM ${BASE}
ARG MEGABYTES
RUN mkdir -p /opt/tools && for n in $(seq $MEGABYTES); do head -c 800000 /dev/urandom > /opt/tools/$n; done
RUN mkdir -p /opt/lib && for n in $(seq $MEGABYTES); do head -c 200000 /dev/urandom > /opt/lib/$n; done
COPY src /opt/app/src
RUN useradd --no-log-init --uid 1001 --gid 0 --create-home builder
WORKDIR /opt/app
USER 1001:0
CMD ["/bin/sh"]
