<?php
// php client.php MESSAGE [HOST:PORT]: sends one netstring and prints the answer.

$message = $argv[1] ?? 'hello';
$server = stream_socket_client('tcp://' . ($argv[2] ?? '127.0.0.1:7000'), $errno, $error, 5);
if (!$server) {
    fwrite(STDERR, "client.php: $error\n");
    exit(1);
}
fwrite($server, strlen($message) . ':' . $message . ',');

$length = (int) stream_get_line($server, 10, ':');
echo stream_get_contents($server, $length), "\n";
