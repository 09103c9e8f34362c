<?php
// The HTTP API in one function: no package, no extension. Address and key come
// from the environment, under the names that pushd itself reads.

/** Posts $body as JSON and returns the answer; ends the program on an error. */
function pushd(string $path, array $body): array
{
    $listen = getenv('PUSHD_API_LISTEN') ?: '127.0.0.1:2347';
    $answer = @file_get_contents("http://$listen$path", false, stream_context_create(['http' => [
        'method'        => 'POST',
        'header'        => ['Content-Type: application/json', 'Authorization: Bearer ' . getenv('PUSHD_API_KEY')],
        'content'       => json_encode($body, JSON_THROW_ON_ERROR),
        'timeout'       => 5,    // seconds
        'ignore_errors' => true, // the body of an error says what is wrong
    ]]));
    if ($answer === false) {
        fail("nothing answers at $listen");
    }
    $result = json_decode($answer, true);
    if (!is_array($result) || isset($result['error'])) {
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

function fail(string $reason): never
{
    fwrite(STDERR, "pushd: $reason\n");
    exit(1);
}
