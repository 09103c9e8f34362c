<?php
// A chat with names, rooms, private messages and a timer, for Workerman's API:
// `pushctl php start.php start`, then open index.html from the disk.
//
// A client says {"type":"login","name":"Ann"}, {"type":"join","room":"tea"},
// {"type":"say","text":"Hello"}, {"type":"to","name":"Bob","text":"psst"}.
//
// Everything here is right in all four processes and outlives a reload: what is
// set on a connection is kept with it by pushd, rooms are channels, names are
// bound to connections.
if (is_file(__DIR__ . '/vendor/autoload.php')) {
    require_once __DIR__ . '/vendor/autoload.php';
}

use Workerman\Timer;
use Workerman\Worker;

$worker = new Worker('websocket://0.0.0.0:2356');
$worker->name = 'chat';
$worker->count = 4;

$worker->onWorkerStart = function ($worker) {
    if ($worker->id === 0) { // one of the four: a broadcast is for all of them
        Timer::add(60, function () {
            Pushd\broadcast(json_encode(['type' => 'time', 'time' => date('H:i')]));
        });
    }
};

$worker->onMessage = function ($connection, $data) {
    $message = json_decode($data, true);
    $type = is_array($message) ? $message['type'] ?? '' : '';
    if ($type !== 'login' && !isset($connection->name)) {
        $connection->send(json_encode(['type' => 'error', 'text' => 'log in first']));
        return;
    }
    switch ($type) {
        case 'login':
            $connection->name = substr((string)($message['name'] ?? ''), 0, 40);
            Pushd\bind($connection, $connection->name);
            enter($connection, 'lobby');
            break;
        case 'join':
            leave($connection);
            enter($connection, substr((string)($message['room'] ?? ''), 0, 40));
            break;
        case 'say':
            tell($connection->room, ['type' => 'say', 'from' => $connection->name, 'text' => $message['text'] ?? '']);
            break;
        case 'to':
            Pushd\sendToUid((string)($message['name'] ?? ''), json_encode(['type' => 'private', 'from' => $connection->name, 'text' => $message['text'] ?? '']));
            break;
        case 'who':
            try {
                $members = Pushd\members('room:' . $connection->room);
            } catch (Pushd\Incomplete $e) { // not all have answered
                $members = $e->partial;
            }
            $names = array_column($members, 'uid');
            sort($names);
            $connection->send(json_encode(['type' => 'who', 'names' => $names]));
            break;
        default:
            $connection->send(json_encode(['type' => 'error', 'text' => "there is no \"$type\""]));
    }
};

$worker->onClose = function ($connection) {
    if (isset($connection->name)) {
        leave($connection);
    }
};

function tell($room, array $message)
{
    Pushd\publish("room:$room", json_encode($message, JSON_UNESCAPED_UNICODE));
}

function enter($connection, $room)
{
    $connection->room = $room;
    Pushd\join($connection, "room:$room");
    tell($room, ['type' => 'joined', 'name' => $connection->name, 'room' => $room]);
}

function leave($connection)
{
    Pushd\leave($connection, 'room:' . $connection->room);
    tell($connection->room, ['type' => 'left', 'name' => $connection->name, 'room' => $connection->room]);
}

Worker::runAll();
