<?php
// php send.php UID DATA: to every client of one user, as
// Gateway::sendToUid($uid, $data) does.

require __DIR__ . '/pushd.php';

[$uid, $data] = arguments('UID', 'DATA');
$result = pushd('/v1/send', ['uid' => $uid, 'data' => $data]);
echo $result['online'] ? "reached $result[reached] clients\n" : "$uid is not online\n";
