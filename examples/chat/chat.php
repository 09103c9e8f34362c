<?php
// The chat of every socket tutorial, as a Worker of websocket:// instead of
// socket_create, socket_select and a handshake by hand: `pushctl php chat.php start`.
//
// Pushd\broadcast reaches the clients of all processes; `foreach
// ($worker->connections …)` would reach those of one, which is as good while
// $worker->count is 1.
use Workerman\Worker;

$worker = new Worker('websocket://0.0.0.0:8080');
$worker->name = 'chat';

$worker->onConnect = function ($connection) {
    $connection->send('Connected successfully!');
};

$worker->onMessage = function ($connection, $data) {
    Pushd\broadcast($data, $connection);
};

$worker->onClose = function ($connection) {
    Pushd\broadcast('A user has left');
};

Worker::runAll();
