<?php
namespace Pushd;

/**
 * Shared are the Tables and Atomics that a program makes before it starts. Swoole's
 * workers have them in common and a reload keeps them; here the process that comes
 * next gets what is in them. They are told apart by what they are and by their order.
 */
final class Shared
{
    const MOST = 33554432; // bytes that go over at most, half of what CARRY takes

    /** The program starts: what it writes now, Swoole's would find written by the new worker. */
    public static $starts = false;

    private static $all = []; // kind => WeakReferences

    static function add(string $kind, $one): void
    {
        if (Program::$serving === null) {
            self::$all[$kind][] = \WeakReference::create($one);
        }
    }

    static function has($one): bool
    {
        if ($one instanceof \Swoole\Table || $one instanceof \Swoole\Atomic) {
            foreach (self::each() as [, , $other]) {
                if ($other === $one) {
                    return true;
                }
            }
        }
        return false;
    }

    /** What is in those that have something: kind => number => content. */
    static function give(): array
    {
        $out = [];
        $bytes = 0;
        foreach (self::each() as [$kind, $i, $one]) {
            $content = $one->pushdContent();
            if (!$content) {
                continue;
            }
            $bytes += \strlen(\serialize($content));
            if ($bytes > self::MOST) {
                \Pushd\say("pushd: the tables have more than 32 MiB: a $kind is empty after this\n");
                $bytes -= \strlen(\serialize($content));
                continue;
            }
            $out[$kind][$i] = $content;
        }
        return $out;
    }

    static function take(array $shared): void
    {
        foreach (self::each() as [$kind, $i, $one]) {
            if (isset($shared[$kind][$i])) {
                $one->pushdFill($shared[$kind][$i]);
            }
        }
    }

    /** [kind, number, Table or Atomic] of each that is still there. */
    static function each(): \Generator
    {
        foreach (self::$all as $kind => $list) {
            foreach ($list as $i => $weak) {
                if ($one = $weak->get()) {
                    yield [$kind, $i, $one];
                }
            }
        }
    }
}
