# The same image by someone who knows BuildKit well: what changes stands on nothing (COPY --link), the user is two files that are written
# without the base, and WORKDIR, which makes a folder, comes before what changes.
ARG BASE
FROM ${BASE} AS tools
ARG MEGABYTES
RUN mkdir -p /opt/tools && for n in $(seq $MEGABYTES); do head -c 800000 /dev/urandom > /opt/tools/$n; done
RUN mkdir -p /opt/lib && for n in $(seq $MEGABYTES); do head -c 200000 /dev/urandom > /opt/lib/$n; done
WORKDIR /opt/app

FROM ${BASE} AS accounts
RUN useradd --no-log-init --uid 1001 --gid 0 --create-home builder

FROM scratch AS user
COPY --from=accounts /etc/passwd /etc/shadow /etc/
COPY --from=accounts --chown=1001:0 /home/builder /home/builder

FROM tools
COPY --link --from=user / /
COPY --link src /opt/app/src
USER 1001:0
CMD ["/bin/sh"]
