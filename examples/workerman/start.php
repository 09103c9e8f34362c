<?php
// Workerman's tutorial, as it runs on Workerman: `pushctl php start.php start`.
//
// With Workerman beside it (composer require workerman/workerman) plain
// `php start.php start` runs it there.
if (is_file(__DIR__ . '/vendor/autoload.php')) {
    require_once __DIR__ . '/vendor/autoload.php';
}

use Workerman\Timer;
use Workerman\Worker;

$worker = new Worker('websocket://0.0.0.0:2346');
$worker->name = 'WebSocket';
$worker->count = 4;

$worker->onWorkerStart = function ($worker) {
    Timer::add(1, function () use ($worker) { // each process greets its own
        foreach ($worker->connections as $connection) {
            $connection->send('Welcome!');
        }
    });
};

$worker->onConnect = function ($connection) {
    echo "New connection\n";
};

$worker->onMessage = function ($connection, $data) {
    echo "Received: $data\n";
};

$worker->onClose = function ($connection) {
    echo "Connection closed\n";
};

Worker::runAll();
