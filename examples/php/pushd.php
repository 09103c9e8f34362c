<?php
// The HTTP API in one function: no package, no extension. Address and key come
// from the environment, under the names that pushd itself reads.

/** Posts $body as JSON and returns the answer; ends the program on an error. */
function pushd(string $path, array $body): array
{
    $listen = getenv('PUSHD_API_LISTEN') ?: '127.0.0.1:2347'; // or unix:///path
    $json = json_encode($body, JSON_THROW_ON_ERROR);
    $api = @stream_socket_client(strpos($listen, '://') ? $listen : "tcp://$listen", $code, $reason, 5); // seconds
    if ($api === false) {
        fail("nothing answers at $listen: $reason");
    }
    stream_set_timeout($api, 5);
    fwrite($api, "POST $path HTTP/1.0\r\n" // the answer ends with the connection
        . "Host: pushd\r\n"
        . 'Authorization: Bearer ' . getenv('PUSHD_API_KEY') . "\r\n"
        . "Content-Type: application/json\r\n"
        . 'Content-Length: ' . strlen($json) . "\r\n\r\n$json");
    $answer = stream_get_contents($api);
    $result = json_decode(explode("\r\n\r\n", $answer, 2)[1] ?? '', true);
    if (!is_array($result) || isset($result['error'])) { // an error's body says what is wrong
        fail($result['error'] ?? "unexpected answer: $answer");
    }
    return $result;
}

/** Returns the command line's arguments, or ends with how they should be. */
function arguments(string ...$names): array
{
    global $argv;
    if (count($argv) !== count($names) + 1) {
        fwrite(STDERR, "usage: php $argv[0] " . implode(' ', $names) . "\n");
        exit(2);
    }
    return array_slice($argv, 1);
}

/** Ends the program. */
function fail(string $reason): void
{
    fwrite(STDERR, "pushd: $reason\n");
    exit(1);
}
