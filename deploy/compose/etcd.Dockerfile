# Debian's etcd, for compose.yaml. ETCD_IMAGE names another image, which must have etcd and etcdctl on its path.
ARG BASE=debian:trixie-slim
FROM ${BASE}
# The versions are those of the base.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends etcd-client etcd-server \
    && rm -rf /var/lib/apt/lists/*
USER 65532:65532
