<?php
// php publish.php CHANNEL DATA: to every client that has joined the channel.

require __DIR__ . '/pushd.php';

[$channel, $data] = arguments('CHANNEL', 'DATA');
$result = pushd('/v1/publish', ['channel' => $channel, 'data' => $data]);
echo "reached $result[reached] clients\n";
