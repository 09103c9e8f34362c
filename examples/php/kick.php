<?php
// php kick.php UID: closes every client of one user.

require __DIR__ . '/pushd.php';

[$uid] = arguments('UID');
$result = pushd('/v1/kick', ['uid' => $uid, 'code' => 4001, 'reason' => 'signed in elsewhere']);
echo "closed $result[closed] clients\n";
