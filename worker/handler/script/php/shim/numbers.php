<?php
namespace Pushd;

/**
 * Numbers are the connections that a program knows by their number, in arrays and
 * Tables that end with this process. Nobody tells when it writes one there, so it is
 * looked for now and then: pushd hears who is found, and closes those when PHP is
 * killed, as it does with objects that are held. A reload carries them over.
 */
final class Numbers
{
    const PART = 200;     // a look takes one in so many parts of the time
    const PAUSE = 0.05;   // seconds from one look to the next at least
    const MOST = 200000;  // values that a look takes in; what is behind them is not seen

    /** Connections that the last look has found: number => true. */
    public static $found = [];

    private static $wait = self::PAUSE; // until the next look
    private static $owed = false;       // pushd has been asked for an ALARM
    private static $now = false;        // it has come
    private static $seen, $met, $left;

    /** Callbacks have run: they may have written some. */
    static function settle(): void
    {
        if (self::$now) {
            self::$now = self::$owed = false;
            $began = Timers::now();
            self::look();
            self::$wait = \min(1.0, \max(self::PAUSE, self::PART * (Timers::now() - $began)));
        } elseif (!self::$owed && (Conns::$open || self::$found) && !Link::$stopped) {
            self::$owed = true;
            Link::frame(Link::TIMER, 0, \pack('V', (int)(1000 * self::$wait)));
        }
    }

    /** The time for a look has come: once what comes with it is done. */
    static function alarm(): void
    {
        self::$now = true;
    }

    /** Looks for them; not in Tables that the next process has, unless $given. */
    static function look(bool $given = true): void
    {
        self::$seen = self::$met = [];
        self::$left = self::MOST;
        foreach (Places::all(Program::$serving->roots()) as $values) {
            self::in($values, Carry::DEPTH + 1);
        }
        self::in(Apart::left(), Carry::DEPTH + 1);
        foreach (Shared::each($given) as $one) {
            if ($one instanceof \Swoole\Table) {
                self::in($one->pushdContent(), Carry::DEPTH);
            }
        }
        if (self::$left < 0) {
            Program::once('numbers', 'arrays have more than ' . self::MOST . ' values: which connections the others know by number is not looked at, when PHP is killed these stay open');
        }
        [$before, self::$found] = [self::$found, self::$seen];
        Conns::recheckAll(\array_diff_key(self::$found, $before) + \array_diff_key($before, self::$found));
        self::$seen = self::$met = null;
        Weak::look(self::$left >= 0);
    }

    private static function in(array $values, int $depth): void
    {
        foreach ($values as $k => $v) {
            if (--self::$left < 0) {
                return;
            }
            if (\is_int($k) ? $k > Carry::SMALL && isset(Conns::$open[$id = $k]) : isset($k[31]) && $id = Carry::number($k)) {
                self::$seen[$id] = true;
            }
            if (\is_int($v) ? $v > Carry::SMALL && isset(Conns::$open[$id = $v]) : \is_string($v) && isset($v[5]) && $id = Carry::number($v)) {
                self::$seen[$id] = true;
            } elseif (\is_array($v)) {
                if ($depth > 1) {
                    self::in($v, $depth - 1);
                }
            } elseif (\is_object($v) && $depth > 1 && !isset(self::$met[$id = \spl_object_id($v)])) {
                self::$met[$id] = true;
                Weak::$on && $v instanceof \WeakMap && Weak::found($v);
                self::in(Carry::contents($v) ?? [], $depth - 1);
            }
        }
    }
}
