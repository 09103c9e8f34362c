<?php
namespace Pushd;

/**
 * Ends are connections that the program has closed. It is told of that at once, as by the
 * libraries: what onClose takes out of a map is not there any more when close() returns.
 * pushd's own CLOSE, which comes when the client has answered, 5 s later at most, is for nobody then.
 */
final class Ends
{
    private static $all = [];   // number => true, until pushd's CLOSE has come
    private static $later = []; // number => close code: told behind the callback that runs
    private static $begun = []; // number => true: the close callback has not come to its end

    static function has(int $id): bool
    {
        return isset(self::$all[$id]);
    }

    /** Whether an event is one of a connection that is ended: nobody is to hear of it. */
    static function hides(int $op, int $id): bool
    {
        if (!isset(self::$all[$id]) || !\in_array($op, Link::OWNED, true)) {
            return false;
        }
        if ($op === Link::CLOSE) {
            unset(self::$all[$id]);
        }
        return true;
    }

    /** pushd has been told to close a connection. */
    static function note(int $id, int $code): void
    {
        if (!isset(Conns::$open[$id]) || !Conns::isOpen($id) || isset(self::$all[$id])) {
            return;
        }
        self::$all[$id] = true;
        if (Program::$serving->endsLater()) {
            self::$later[$id] = $code;
        } else {
            self::tell($id, $code);
        }
    }

    /** Tells of those that wait for the end of the callback. */
    static function settle(): void
    {
        while (self::$later) {
            $id = \key(self::$later);
            $code = self::$later[$id];
            unset(self::$later[$id]);
            self::tell($id, $code);
            Forked::back();
        }
    }

    /**
     * A connection is closed that is in what came without what it had, or has no place: its program is told
     * now, and of nothing of it from then on. pushd, which may have closed it already, tells nobody else.
     */
    static function part(int $id, int $code, string $why): void
    {
        Link::frame(Link::END, $id, $why, 0, $code);
        if (isset(Conns::$open[$id]) && Conns::isOpen($id) && !isset(self::$all[$id])) {
            self::$all[$id] = true;
            self::tell($id, $code);
        }
    }

    /** No CLOSE will come: the client had not come in. */
    static function drop(int $id): void
    {
        unset(self::$all[$id], self::$later[$id]);
    }

    /** The program's callback runs, and nothing is known of the connection from then on. */
    static function over(Program $program, int $id, int $code): void
    {
        self::$begun[$id] = true;
        $program->close($id, $code);
        unset(self::$begun[$id]);
        Conns::forget($id);
    }

    /** A callback ends the process: the next one does not hear again of an end that has been told, be it that this was what has ended it. */
    static function leave(): void
    {
        foreach (self::$begun as $id => $_) {
            isset(Conns::$open[$id]) && Conns::forget($id);
        }
        self::$begun = [];
    }

    /** Runs the program's callback. What it throws is its own, and not of the callback that has closed. */
    private static function tell(int $id, int $code): void
    {
        $program = Program::$serving;
        $outer = Link::$busy;
        Link::$busy = true;
        try {
            Link::coroutine($program, Link::CLOSE, $id, static function () use ($program, $id, $code) {
                try {
                    self::over($program, $id, $code);
                } finally {
                    Conns::forget($id);
                }
            });
        } catch (\Throwable $e) {
            if ($outer && $e instanceof TookTooLong) { // then so has the callback around it
                throw $e;
            }
            if (!$program->cures($id, $e)) {
                Program::uncaught($e);
            }
        } finally {
            Link::$busy = $outer;
        }
    }
}
