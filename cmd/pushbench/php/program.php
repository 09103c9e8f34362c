<?php
// The programs of `pushbench php`, which Workerman and pushd run alike: BENCH_PROGRAM
// says which of them. Two use pushd's functions, and run there alone.
require getenv('BENCH_AUTOLOAD');

use Workerman\Worker;

Worker::$pidFile = getenv('BENCH_DIR') . '/pid';
Worker::$logFile = getenv('BENCH_DIR') . '/log';

$worker = new Worker('websocket://' . getenv('BENCH_LISTEN'));
$worker->count = (int) getenv('BENCH_COUNT');

switch (getenv('BENCH_PROGRAM')) {
    case 'echo':
        $worker->onMessage = function ($connection, $data) {
            $connection->send($data);
        };
        break;
    case 'nap': // as a query takes its time
        $calls = 0;
        $worker->onMessage = function ($connection, $data) use (&$calls) {
            if (++$calls % 100 === 0) {
                usleep(20000);
            }
            $connection->send($data);
        };
        break;
    case 'foreach':
        $worker->onMessage = function ($connection, $data) use ($worker) {
            foreach ($worker->connections as $other) {
                if ($other !== $connection) {
                    $other->send($data);
                }
            }
        };
        break;
    case 'broadcast':
        $worker->onMessage = function ($connection, $data) {
            Pushd\broadcast($data, $connection);
        };
        break;
    case 'relay': // echoes, and rooms of all processes
        $worker->onWebSocketConnect = function ($connection, $request) {
            $connection->room = (string) $request->get('room');
            if ($connection->room !== '') {
                Pushd\join($connection, $connection->room);
            }
        };
        $worker->onMessage = function ($connection, $data) {
            if ($connection->room === '') {
                $connection->send($data);
            } else {
                Pushd\publish($connection->room, $data, $connection);
            }
        };
        break;
}

Worker::runAll();
