<?php
namespace Pushd;

/**
 * Nap is PHP's sleep() and usleep(): it holds up the process, but where a coroutine of
 * Swoole has asked for it others run meanwhile (hook_flags, Runtime::enableCoroutine()).
 */
final class Nap
{
    /** Whether coroutines have asked for it. */
    public static $hooked = false;

    /** The seconds that are left where a signal has come, rounded up. */
    static function take(float $seconds): int
    {
        $c = Fibers::current();
        if ($c !== null && (self::$hooked || $c->aside)) {
            \Swoole\Coroutine::sleep(\max($seconds, 0.001));
            return 0;
        }
        Link::ahead();
        $left = \time_nanosleep((int)$seconds, (int)(\fmod($seconds, 1) * 1e9));
        return \is_array($left) ? $left['seconds'] + (int)($left['nanoseconds'] > 0) : 0;
    }
}
