# docs/operations.md says how to run it with BPF.
FROM rust:1-trixie AS build
WORKDIR /src
COPY . .
RUN cargo xtask setup && cargo xtask build

FROM debian:trixie-slim
COPY --from=build /src/target/release/xdp-tracker /usr/bin/xdp-tracker
COPY packaging/xdp-tracker.yaml /etc/xdp-tracker.yaml
RUN mkdir -p /run/xdp-tracker /var/lib/xdp-tracker
VOLUME /var/lib/xdp-tracker
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/xdp-tracker", "--config", "/etc/xdp-tracker.yaml"]
