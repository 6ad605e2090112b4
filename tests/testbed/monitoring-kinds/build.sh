#!/usr/bin/env bash
# Puts the custom resource definitions of the Prometheus operator into the directory given as the only argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
go mod download -x github.com/prometheus-operator/prometheus-operator
kinds=$(go list -m -f '{{.Dir}}' github.com/prometheus-operator/prometheus-operator)/example/prometheus-operator-crd
for kind in servicemonitors podmonitors prometheusrules; do
  install -m 644 "$kinds/monitoring.coreos.com_$kind.yaml" "$1/"
done
