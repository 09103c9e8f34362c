<?php
namespace Pushd;

/** SwooleEvents are the words of on(), in lower case: those of the server, those of each of its ports, and those without which start() is refused. */
final class SwooleEvents
{
    const SERVER = ['start', 'beforeshutdown', 'shutdown', 'workerstart', 'workerstop', 'workerexit', 'workererror', 'managerstart', 'managerstop',
        'beforereload', 'afterreload', 'task', 'finish', 'pipemessage'];
    const PORT = ['connect', 'receive', 'close', 'packet', 'bufferfull', 'bufferempty', 'request', 'handshake', 'beforehandshakeresponse', 'open', 'message', 'disconnect'];

    /** What a port speaks => what hears its clients. */
    const NEEDS = ['websocket' => 'message', 'http' => 'request', 'tcp' => 'receive', 'udp' => 'packet'];

    /** What on() may have and is not called => why. */
    const UNCALLED = ['managerstop' => self::OURS, 'workererror' => self::OURS, 'workerexit' => self::OURS, 'beforeshutdown' => self::OURS,
        'beforereload' => self::OURS, 'afterreload' => self::OURS, 'disconnect' => 'a client that only sends requests is not told of when it leaves'];
    const OURS = 'the processes are pushd\'s';

    /** Whether there is such an event; a word that is none is warned of, since its function would never be called. */
    static function knows(string $event, bool $port): bool
    {
        $known = $port ? self::PORT : \array_merge(self::SERVER, self::PORT);
        if (\in_array(\strtolower($event), $known, true)) {
            return true;
        }
        $at = Names::caller(\debug_backtrace(\DEBUG_BACKTRACE_IGNORE_ARGS));
        \trigger_error("on(): unknown event types[$event]" . ($port ? ' of a port' : '') . ", whose function is never called, at $at[file]:$at[line]", \E_USER_WARNING);
        return false;
    }

    /** What is wrong with a port that nothing listens to, '' where something does: the port's own callback, or the server's. */
    static function missing(\Swoole\Server $port, \Swoole\Server $server): string
    {
        $event = self::NEEDS[$port->pushdSpeaks];
        if (isset($port->pushdOn[$event]) || isset($server->pushdOn[$event])) {
            return '';
        }
        return 'require on' . \ucfirst($event) . " callback: nothing would hear what clients send to {$port->pushdAddress()}; \$server->on('$event', …) before start() does";
    }

    /** Names what a port asks to be told and is not. */
    static function warn(\Swoole\Server $port): void
    {
        foreach (\array_intersect_key(self::UNCALLED, $port->pushdOn) as $event => $why) {
            Program::once("on $event", "on('$event') is not called: $why");
        }
    }
}
