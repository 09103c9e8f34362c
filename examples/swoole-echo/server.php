<?php
// Swoole's WebSocket tutorial: `pushctl php server.php`. No extension is needed.

$server = new Swoole\WebSocket\Server('0.0.0.0', 9501);

$server->on('open', function ($server, $request) {
    echo "open {$request->fd}\n";
});

$server->on('message', function ($server, $frame) {
    $server->push($frame->fd, "已收到你的消息:{$frame->data}");
});

$server->on('close', function ($server, $fd) {
    echo "close {$fd}\n";
});

$server->start();
