<?php
// The app's back end in PHP. Composer's package cannot be taken for granted
// where the tests run, so this forms the requests that pusher-http-php 7.2 does:
// the same order and escaping in path, query and body, and the headers that
// Guzzle 7 adds. A line of JSON says what to call, a line of JSON is the answer.
declare(strict_types=1);

const JSON = JSON_THROW_ON_ERROR;
[$appId, $key, $secret, $port] = array_map('getenv', ['APP_ID', 'APP_KEY', 'APP_SECRET', 'PORT']);

/** The signed query; the signature is over names and values as they are, unescaped. */
function signed(string $method, string $path, array $query, ?string $time = null): array
{
    global $key, $secret;
    $query += ['auth_key' => $key, 'auth_timestamp' => $time ?? (string) time(), 'auth_version' => '1.0'];
    ksort($query);
    $pairs = array_map(fn ($k, $v) => "$k=$v", array_keys($query), $query);
    $query['auth_signature'] = hash_hmac('sha256', "$method\n$path\n" . implode('&', $pairs), $secret);
    return $query;
}

function request(string $method, string $path, array $query, ?string $body = null): mixed
{
    global $appId, $port;
    $path = "/apps/$appId$path";
    if ($body !== null) {
        $query['body_md5'] = md5($body);
    }
    $target = str_replace('#', '%23', $path) . '?' . http_build_query(signed($method, $path, $query), '', '&', PHP_QUERY_RFC3986);
    $head = ["$method $target HTTP/1.1", "Host: 127.0.0.1:$port", 'User-Agent: GuzzleHttp/7',
        'Content-Type: application/json', 'X-Pusher-Library: pusher-http-php 7.2.7'];
    if ($body !== null) {
        $head[] = 'Content-Length: ' . strlen($body);
    }
    return answer(exchange(implode("\r\n", $head) . "\r\n\r\n" . $body));
}

/** Sends on the one connection, which is kept as Guzzle keeps it, and reads one response. */
function exchange(string $bytes): array
{
    global $port;
    static $socket = null;
    $socket ??= stream_socket_client("tcp://127.0.0.1:$port", timeout: 20) ?: exit(1);
    stream_set_timeout($socket, 20);
    fwrite($socket, $bytes);
    $status = 0;
    $length = 0;
    while (($line = rtrim(fgets($socket) ?: throw new Exception('no response'))) !== '') {
        if (preg_match('/^HTTP\/1\.1 (\d+)/', $line, $m)) {
            $status = (int) $m[1];
        } elseif (preg_match('/^Content-Length: *(\d+)/i', $line, $m)) {
            $length = (int) $m[1];
        }
    }
    return [$status, $length > 0 ? stream_get_contents($socket, $length) : ''];
}

function answer(array $response): mixed
{
    [$status, $body] = $response;
    if ($status !== 200) {
        throw new Exception($body, $status);
    }
    return json_decode($body, false, 512, JSON);
}

/** An event as it stands in a body: one channel is "channel", several are "channels". */
function event(array $channels, string $name, mixed $data, array $params): array
{
    $to = count($channels) === 1 ? ['channel' => $channels[0]] : ['channels' => $channels];
    return ['name' => $name, 'data' => json_encode($data, JSON)] + $to + $params;
}

function authorize(object $c, ?string $data): object
{
    global $key, $secret;
    $auth = ['auth' => "$key:" . hash_hmac('sha256', "$c->socket_id:$c->channel" . ($data === null ? '' : ":$data"), $secret)];
    return (object) ($data === null ? $auth : $auth + ['channel_data' => $data]);
}

function call(object $c): mixed
{
    global $key, $secret;
    $info = isset($c->info) ? ['info' => $c->info] : [];
    switch ($c->call) {
        case 'trigger':
            $params = (isset($c->socket_id) ? ['socket_id' => $c->socket_id] : []) + $info;
            return request('POST', '/events', [], json_encode(event($c->channels, $c->event, $c->data, $params), JSON));
        case 'triggerBatch':
            $batch = array_map(fn ($e) => event([$e->channel], $e->name, $e->data, isset($e->info) ? ['info' => $e->info] : []), $c->batch);
            return request('POST', '/batch_events', [], json_encode(['batch' => $batch], JSON));
        case 'sendToUser':
            return request('POST', '/events', [], json_encode(event(["#server-to-user-$c->user"], $c->event, $c->data, []), JSON));
        case 'terminateUserConnections':
            return request('POST', "/users/$c->user/terminate_connections", [], '{}');
        case 'getChannels':
            return request('GET', '/channels', ['filter_by_prefix' => $c->prefix] + $info);
        case 'getChannelInfo':
            return request('GET', "/channels/$c->channel", $info);
        case 'getPresenceUsers':
            return request('GET', "/channels/$c->channel/users", []);
        case 'authorizeChannel':
            return authorize($c, null);
        case 'authorizePresenceChannel':
            return authorize($c, json_encode(['user_id' => $c->user, 'user_info' => ['name' => $c->name]], JSON));
        case 'authenticateUser':
            $data = json_encode(['id' => $c->user], JSON);
            return ['auth' => "$key:" . hash_hmac('sha256', "$c->socket_id::user::$data", $secret), 'user_data' => $data];
        case 'webhook':
            $valid = $c->key === $key && hash_hmac('sha256', $c->body, $secret) === $c->signature;
            return ['valid' => $valid, 'events' => $valid ? array_map(fn ($e) => $e->name, json_decode($c->body)->events) : []];
        case 'sign': // for the published vectors
            return signed($c->method, $c->path, (array) $c->query, $c->time)['auth_signature'];
    }
    throw new Exception("no call $c->call");
}

while (($line = fgets(STDIN)) !== false) {
    try {
        $answer = ['answer' => call(json_decode($line, false, 512, JSON))];
    } catch (Throwable $e) {
        $answer = ['error' => $e->getMessage(), 'status' => $e->getCode()];
    }
    echo json_encode($answer, JSON), "\n";
}
