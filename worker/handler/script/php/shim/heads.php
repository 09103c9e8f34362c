<?php
namespace Pushd;

/**
 * Heads are the headers of handshakes, which pushd tells once and then knows few of. Where
 * a program asks for them later than in onOpen, as Ratchet's may by httpRequest, they go
 * along to the next process.
 */
final class Heads
{
    const MOST = 16777216; // bytes that go to the next process, of all connections
    const LATE = 60;       // seconds: pushd tells of all at once, so who is not told of by then has left

    /** The program asks for them. */
    public static $asked = false;

    private static $come = []; // number => head, until pushd tells of the connection

    /** What goes to the next process: number => head. */
    static function give(): array
    {
        $all = [];
        $size = 0;
        foreach (self::$asked ? Conns::$open : [] as $id => $_) {
            $head = Conns::told($id, 3);
            if (\strpos($head, "\r\n") + 4 >= \strlen($head) || !Conns::isOpen($id)) { // a bare line pushd knows, too
                continue;
            }
            if (($size += \strlen($head)) > self::MOST) {
                \Pushd\say("pushd: the headers of the handshakes have more than 16 MiB: for some connections httpRequest has those that pushd keeps alone from now on\n");
                break;
            }
            $all[$id] = $head;
        }
        return $all;
    }

    /** What the process before has handed over. */
    static function receive(array $heads): void
    {
        if ($heads) {
            self::$asked = true; // by the code before: the same may ask again
            self::$come = $heads + self::$come;
            Timers::add(self::LATE, static function () {
                self::$come = [];
            }, [], false);
        }
    }

    /** What pushd tells of a connection, "remote NUL local NUL target NUL head", with the head that was told before. */
    static function put(int $id, string $told): string
    {
        if (!isset(self::$come[$id])) {
            return $told;
        }
        $head = self::$come[$id];
        unset(self::$come[$id]);
        return \implode("\0", \array_slice(\explode("\0", $told, 4), 0, 3)) . "\0$head";
    }
}
