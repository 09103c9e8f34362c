<?php
// Swoole's server with two ports, in its old names: browsers on a WebSocket, the
// back end on a UDP port. `pushctl php server.php`, then
// `php push.php 1 2 "The lesson begins"`.

$server = new swoole_websocket_server('0.0.0.0', 6552);
$server->addlistener('127.0.0.1', 6553, SWOOLE_SOCK_UDP);
$server->set(['log_file' => 'two-ports.log']);

$server->classes = []; // "SCHOOL:CLASS" => [fd => fd]

$class = function ($packet) {
    return isset($packet['school_id'], $packet['school_class_id']) ? "$packet[school_id]:$packet[school_class_id]" : null;
};

$server->on('Open', function ($server, $request) {
    echo "client came\n";
});

$server->on('Message', function ($server, $frame) use ($class) {
    $name = $class(json_decode($frame->data, true));
    if ($name === null) {
        echo "client names no class\n";
        return;
    }
    $server->classes[$name][$frame->fd] = $frame->fd;
    echo "client joined\n";
});

$server->on('Packet', function ($server, $data, $client) use ($class) {
    $packet = json_decode($data, true);
    $name = $class($packet);
    if ($name === null || !isset($packet['data'])) {
        echo "datagram names no class\n";
        return;
    }
    $message = is_string($packet['data']) ? $packet['data'] : json_encode($packet['data']);
    foreach ($server->classes[$name] ?? [] as $fd) {
        if ($server->exist($fd)) {
            $server->push($fd, $message);
        }
    }
});

$server->on('Close', function ($server, $fd) {
    foreach ($server->classes as &$fds) {
        unset($fds[$fd]);
    }
});

$server->start();
