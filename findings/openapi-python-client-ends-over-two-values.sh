#!/bin/sh
# A client for Python of a document with an enumeration, two values of which differ in punctuation.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    openapi-python-client==0.29.1 openapi-spec-validator==0.9.0
"$folder/venv/bin/openapi-python-client" --version
cat >"$folder/openapi.json" <<'JSON'
{
  "openapi": "3.1.0",
  "info": {"title": "Orders", "version": "1"},
  "paths": {"/orders": {"get": {"operationId": "list", "responses": {"200": {
    "description": "What happened.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Action"}}}}}}}},
  "components": {"schemas": {
    "Action": {"type": "string", "enum": ["order.paid", "order_paid"]}}}
}
JSON
"$folder/venv/bin/openapi-spec-validator" "$folder/openapi.json"
echo "post_hooks: []" >"$folder/config.yaml"
status=0
"$folder/venv/bin/openapi-python-client" generate --meta none --config "$folder/config.yaml" \
    --path "$folder/openapi.json" --output-path "$folder/client" >"$folder/said" 2>&1 || status=$?
echo "generate ends with $status:"
grep -e 'Traceback (most recent' -e '^ValueError' "$folder/said" || cat "$folder/said"
[ $status != 0 ] && grep -q "Traceback" "$folder/said" && ! [ -e "$folder/client" ]
