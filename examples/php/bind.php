<?php
// php bind.php CONNECTION UID: from now on the connection belongs to the user,
// as after Gateway::bindUid($client_id, $uid).
//
// A page that opens /notify?hello=1 gets {"id":"…"} first and posts that id to
// the back end, which knows from its own session who the user is.

require __DIR__ . '/pushd.php';

[$connection, $uid] = arguments('CONNECTION', 'UID');
pushd('/v1/bind', ['connection' => $connection, 'uid' => $uid]);
echo "bound to $uid\n";
