<?php
// php push.php CLASS SCHOOL DATA [HOST:PORT]: pushes DATA to the clients of a
// class, by one datagram.

if ($argc < 4) {
    fwrite(STDERR, "usage: php push.php CLASS SCHOOL DATA [HOST:PORT]\n");
    exit(2);
}
[, $class, $school, $data] = $argv;

$udp = stream_socket_client('udp://' . ($argv[4] ?? '127.0.0.1:6553'), $errno, $error);
if (!$udp) {
    fwrite(STDERR, "push.php: $error\n");
    exit(1);
}
fwrite($udp, json_encode(['school_class_id' => $class, 'school_id' => $school, 'data' => $data]));
