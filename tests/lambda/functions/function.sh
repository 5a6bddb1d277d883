# The quickest function there is: it starts at once and answers every event with the same.
base=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
    name=$(curl --silent --output /dev/null --write-out '%header{Lambda-Runtime-Aws-Request-Id}' "$base/next")
    curl --silent --output /dev/null --data '{"hello":"world"}' "$base/$name/response"
done
