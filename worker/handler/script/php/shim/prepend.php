<?php
// pushd's PHP side. PHP runs this file before the program (auto_prepend_file),
// so the classes below are there before any autoloader of the program is asked.
//
// -d pushd.role=plan     the program says what it would listen on, and ends
// -d pushd.role=handler  the program serves: descriptor 3 is pushd's
// neither                typed by hand after `pushd php --install`: become pushd
//
// PHP 7.4 to 8.4, no extension needed.
namespace Pushd;

if (\PHP_SAPI !== 'cli' || \defined('Pushd\ROLE')) {
    return;
}
\define('Pushd\ROLE', (string)\get_cfg_var('pushd.role'));
if (ROLE === '') {
    \putenv('STARTED_BY_PUSHD=look'); // what comes before runAll() runs here, too
}

foreach ([
    'link',
    'forked',
    'ends',
    'outbox',
    'flyweight',
    'identity',
    'conns',
    'large',
    'heads',
    'ids',
    'callbacks',
    'props',
    'counted',
    'weak',
    'numbers',
    'loop',
    'queued',
    'coroutine',
    'fibers',
    'nap',
    'json',
    'incomplete',
    'words',
    'program',
    'changed',
    'carry',
    'lists',
    'beside',
    'gone',
    'unmade',
    'typed',
    'living',
    'part',
    'apart',
    'parting',
    'shared_arrays',
    'husk',
    'stuck',
    'own',
    'plain',
    'marks',
    'refs',
    'places',
    'made',
    'wiring',
    'heirs',
    'became',
    'joined',
    'lost',
    'owners',
    'captured',
    'starts',
    'plan',
    'names',
    'forget',
    'everyone',
    'listed',
    'tcp',
    'handshake',
    'stream',
    'datagrams',
    'scheme',
    'listener',
    'async',
    'protocols',
    'raw',
    'held',
    'workerman',
    'workerman_program',
    'workerman_around',
    'react',
    'ratchet',
    'ratchet_shake',
    'ratchet_program',
    'ratchet_around',
    'swoole',
    'swoole_go',
    'swoole_mime',
    'swoole_http',
    'swoole_shared',
    'swoole_columns',
    'swoole_table',
    'swoole_events',
    'swoole_pipe',
    'swoole_program',
] as $file) {
    require __DIR__ . "/$file.php";
}
if (\stripos($file = (string)@\file_get_contents($_SERVER['SCRIPT_FILENAME'] ?? ''), 'swoole') !== false && !\preg_match('/function\s+(?:go|defer)\b/i', $file)) {
    require __DIR__ . '/swoole_short.php';
}
unset($file);
Names::aliases(false);
if (ROLE === 'plan') {
    Plan::begin();
} elseif (ROLE === 'handler') {
    require __DIR__ . '/own_calls.php';
    Program::watchEnd();
}
