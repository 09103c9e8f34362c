<?php
// Ratchet's App with a route and allowed origins: `pushctl php app.php`.
if (is_file(__DIR__ . '/vendor/autoload.php')) {
    require __DIR__ . '/vendor/autoload.php';
}

use Ratchet\ConnectionInterface;
use Ratchet\MessageComponentInterface;

class MyEcho implements MessageComponentInterface
{
    public function onOpen(ConnectionInterface $conn)
    {
    }

    public function onMessage(ConnectionInterface $from, $msg)
    {
        $from->send($msg);
    }

    public function onClose(ConnectionInterface $conn)
    {
    }

    public function onError(ConnectionInterface $conn, Exception $e)
    {
        $conn->close();
    }
}

$app = new Ratchet\App('localhost', 8080, '127.0.0.1');
$app->route('/websocket', new MyEcho(), ['localhost', '127.0.0.1']); // hosts of pages, whatever their port
$app->run();
