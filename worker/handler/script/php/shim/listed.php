<?php
namespace Pushd;

/**
 * Listed is $worker->connections, which is the program's to write to, as in Workerman. It is
 * given out by reference, and compared with what it was when callbacks are over; PHP copies
 * it at the first write alone, so that this costs nothing where nobody writes. What is put
 * in is kept by the Worker, as a map of the program's. Whom it takes out stays out until his
 * connection ends: that is part of his session.
 */
final class Listed
{
    const KEY = 'pushd.unlisted';

    /** The list as it was made; null: nobody has asked. */
    public static $made;

    private static $list = []; // [the one that the program has]: of an element PHP tells whether somebody refers to it
    private static $out = [];  // number => true: not in the list

    static function &all(): array
    {
        if (self::$made === null) {
            self::$made = self::build();
            self::$list = [self::$made];
        }
        return self::$list[0];
    }

    private static function build(): array
    {
        $all = self::$out ? \array_diff_key(Conns::all(), self::$out) : Conns::all();
        $added = WorkermanProgram::$worker ? WorkermanProgram::$worker->pushdAdded() : [];
        return $added ? \array_replace($all, $added) : $all;
    }

    /** The list is made anew from here on. */
    static function over(): void
    {
        [$made, $list] = [self::$made, (array)self::$list[0]];
        if (\ReflectionReference::fromArrayElement(self::$list, 0) !== null) {
            Program::once('listed', 'a reference to $worker->connections ($list = &$worker->connections) has what was in it in one callback: write to $worker->connections itself');
        }
        self::$made = null;
        self::$list = [];
        if ($list !== $made) {
            self::look($made, $list, WorkermanProgram::$worker->pushdAdded());
        }
    }

    /** Notes what the program has changed. */
    private static function look(array $made, array $list, array &$added): void
    {
        foreach (\array_diff_key($made, $list) as $key => $_) {
            unset($added[$key]);
            if (isset(Conns::$open[$key]) && Conns::isOpen($key)) {
                self::$out[$key] = Conns::vars($key)[self::KEY] = true;
                Conns::dirty($key);
            }
        }
        foreach ($list as $key => $c) {
            if (isset($made[$key]) && $made[$key] === $c) {
                continue;
            }
            if (!Conns::isOne($c) || $c->pushdId() !== $key) {
                $added[$key] = $c;
                continue;
            }
            unset($added[$key], self::$out[$key]); // it is in again
            if (Conns::isOpen($key)) {
                $vars = &Conns::vars($key);
                unset($vars[self::KEY]);
                Conns::dirty($key);
            }
        }
    }

    /** The session of a connection has come back. */
    static function restore(int $id, array $vars): void
    {
        if (isset($vars[self::KEY])) {
            self::$out[$id] = true;
        }
    }

    static function forget(int $id): void
    {
        unset(self::$out[$id]);
    }
}
