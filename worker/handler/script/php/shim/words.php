<?php
namespace Pushd;

/*
 * Words of pushd for programs that want them: right in all processes, with
 * the names of the HTTP API. A connection is its object, or its number. Data that
 * is no string, nor an object that says what it is as one, goes out as JSON.
 * publish and broadcast, join, leave, bind, unbind, sendToUid, sendTo and kick
 * return at once; members, isOnline and order wait for the answer, and where not all have
 * answered members and isOnline throw Incomplete.
 */

function number($connection): int
{
    if ($connection instanceof Connection) {
        return $connection->pushdId();
    }
    return \is_object($connection) ? (int)($connection->resourceId ?? 0) : (int)$connection; // one that Ratchet has put around it
}

/** To standard error, which the program may have put into a file. */
function say(string $text): void
{
    global $STDERR;
    \fwrite(\is_resource($STDERR) ? $STDERR : \STDERR, $text);
}

/** As Workerman's send() has it: a scalar as a string. */
function text($data): string
{
    return \is_scalar($data) ? (string)$data : data($data);
}

function data($data): string
{
    return \is_string($data) || \is_object($data) && \method_exists($data, '__toString') ? (string)$data : Json::of($data, 'data');
}

/** Sends to the members of a channel, in all processes; not to $exceptConnection. */
function publish(string $channel, $data, $exceptConnection = null, bool $binary = false): void
{
    Link::frameNamed(Link::PUBLISH, number($exceptConnection), $channel, data($data), $binary ? Link::BINARY : 0);
}

/** Sends to all connections of this Worker, in all processes; not to $exceptConnection. */
function broadcast($data, $exceptConnection = null, bool $binary = false): void
{
    Link::frame(Link::ALL, number($exceptConnection), data($data), $binary ? Link::BINARY : 0);
}

function join($connection, string $channel): void
{
    Link::frame(Link::JOIN, number($connection), $channel);
}

function leave($connection, string $channel): void
{
    Link::frame(Link::LEAVE, number($connection), $channel);
}

/** The connection is one of user $uid's from now on. */
function bind($connection, $uid): void
{
    if ((string)$uid === '') { // the frame would unbind: the order is refused, in the words of the API
        Link::order(['op' => 'bind', 'connection' => (string)number($connection), 'uid' => '']);
        return;
    }
    Link::frame(Link::BIND, number($connection), (string)$uid);
}

function unbind($connection): void
{
    Link::frame(Link::BIND, number($connection), '');
}

/** Sends to all connections of a user, in whatever process they are. */
function sendToUid($uid, $data, bool $binary = false): void
{
    Link::order(['op' => 'send', 'uid' => (string)$uid] + payload($data, $binary));
}

/** Sends to a connection by its number, in whatever process it is. */
function sendTo($connection, $data, bool $binary = false): void
{
    Link::order(['op' => 'send', 'connection' => (string)number($connection)] + payload($data, $binary));
}

/** Closes all connections of a user. */
function kick($uid, int $code = 1000, string $reason = ''): void
{
    Link::order(['op' => 'kick', 'uid' => (string)$uid, 'code' => $code, 'reason' => $reason]);
}

/** The connections of a channel in all processes: [['connection' => number, 'uid' => …], …]. */
function members(string $channel, int $limit = 1000): array
{
    return Incomplete::unless('members', ['what' => 'members', 'channel' => $channel, 'limit' => $limit], static function (array $answer) {
        return $answer['members'] ?? [];
    });
}

/** How many connections a user has in all processes; 0: none. */
function isOnline($uid): int
{
    return Incomplete::unless('isOnline', ['what' => 'online', 'uids' => [(string)$uid]], static function (array $answer) use ($uid) {
        return (int)($answer['online'][(string)$uid] ?? 0);
    });
}

/** Any order of the HTTP API, ['op' => 'publish', …], and its answer; a wrong one throws. */
function order(array $order): array
{
    $answer = Link::order($order, true);
    if (isset($answer['error'])) {
        throw new \InvalidArgumentException('pushd: ' . $answer['error']);
    }
    return $answer;
}

function payload($data, bool $binary): array
{
    $text = data($data);
    return $binary || !\preg_match('//u', $text) ? ['data_base64' => \base64_encode($text)] : ['data' => $text];
}
