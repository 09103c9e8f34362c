<?php
namespace Pushd;

/**
 * Forked is what holds in a child that the program makes by pcntl_fork(). The socket to pushd,
 * and so the clients, are its parent's: what the child wants of pushd is refused, and where it
 * comes back from its callback it is ended, before it takes events that are its parent's.
 */
final class Forked
{
    /** What no callback asks for. */
    const OURS = [Link::SESSION, Link::HELD, Link::TIMER, Link::FILES, Link::READY, Link::DONE];

    /** Whether a file of the program has the word: to ask for the own pid takes a system call, so without it only turns of the loop are looked at. */
    public static $may = false;

    private static $seen = 0;

    /** Looks at what the program has loaded since. */
    static function look(array $files): void
    {
        if (!self::$may && \count($files) > self::$seen) {
            self::$may = \function_exists('pcntl_fork') && Program::filesHave(\array_slice($files, self::$seen), ['pcntl_fork']);
            self::$seen = \count($files);
        }
    }

    /** Whether an order is a child's, which is not carried out. */
    static function refuses(int $op): bool
    {
        if (!self::$may || Link::mine()) {
            return false;
        }
        if (!\in_array($op, self::OURS, true)) {
            Program::once('forked', 'what a child of pcntl_fork() sends, closes or publishes does not happen: the clients are its parent\'s. Have it write to a '
                . 'stream_socket_pair() that the parent reads, by new TcpConnection($stream) say, or use the HTTP API');
        }
        return true;
    }

    /** A callback is over, by its return or what it has thrown: a child goes no further. @param bool $look also where no file has the word */
    static function back(?\Throwable $e = null, bool $look = false): void
    {
        if (!self::$may && !$look || Link::mine()) {
            return;
        }
        if ($e !== null) {
            Program::uncaught($e);
        }
        \Pushd\say("pushd: a child of pcntl_fork() has come back from its callback and is ended: what comes then is its parent's. It ends by exit()\n");
        if (\function_exists('posix_kill')) { // so nothing runs that its parent has for its own end
            \posix_kill(\getmypid(), 9);
        }
        exit(255);
    }
}
