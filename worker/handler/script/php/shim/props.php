<?php
namespace Pushd;

/**
 * Props are properties of connections that are no numbers and text: objects, other
 * connections, the context of Workerman 5. No session has them, so who has one is closed
 * when PHP is killed; a reload carries them.
 */
final class Props
{
    /** Their place among what is carried. Older files take it for a global of that name. */
    const PLACE = 'pushd props';

    /** The name of a context, which is no property of the program's. */
    const CONTEXT = "\0context";

    /** The connections that have such: number => true. */
    public static $of = [];

    private static $come = []; // number => name => value, until pushd tells of the connection

    /** A connection has such, or none any more. */
    static function note(int $id, bool $has): void
    {
        if ($has !== isset(self::$of[$id])) {
            if ($has) {
                self::$of[$id] = true;
            } else {
                unset(self::$of[$id]);
            }
            Conns::recheck($id);
        }
    }

    /** "NUMBER NAME" => value. */
    static function all(): array
    {
        $all = [];
        foreach (self::$of as $id => $_) {
            foreach (Conns::isOpen($id) && \is_array(Conns::$vars[$id] ?? null) ? Conns::$vars[$id] : [] as $name => $value) {
                if (!Session::plain($value)) {
                    $all["$id $name"] = $value;
                }
            }
            foreach (self::own($id) as $name => $value) {
                $all["$id $name"] = $value;
            }
        }
        return $all;
    }

    /** What a connection has beside its properties: the context, if something is in it, and methods that are callbacks. */
    static function own(int $id): array
    {
        $context = Conns::callback($id, 'context');
        return ((array)$context ? [self::CONTEXT => $context] : []) + Callbacks::methods($id);
    }

    /** They have been carried, and are not here any more. */
    static function drop(array $all): void
    {
        foreach ($all as $key => $_) {
            [$id, $name] = \explode(' ', $key, 2);
            if ($name[0] === "\0") {
                unset(Conns::own((int)$id)[\substr($name, 1)]);
            } else {
                unset(Conns::$vars[(int)$id][$name]);
                if ($name === Packets::OWN) {
                    unset(Packets::$own[(int)$id]);
                }
            }
        }
        $before = self::$of;
        self::$of = self::ids(self::all());
        Conns::recheckAll(\array_diff_key($before, self::$of));
    }

    /** What the process before has handed over, of those that are there still. */
    static function receive(array $all, array $there): void
    {
        foreach ($all as $key => $value) {
            [$id, $name] = \explode(' ', $key, 2);
            if (isset($there[(int)$id])) {
                self::$come[(int)$id][$name] = Places::became($value);
            }
        }
    }

    /** pushd has told of a connection, with its session. */
    static function put(int $id): void
    {
        if (!isset(self::$come[$id])) {
            return;
        }
        $come = self::$come[$id];
        unset(self::$come[$id]);
        foreach ($come as $name => $value) {
            if ($name[0] !== "\0") {
                continue;
            }
            unset($come[$name]);
            if ($name === self::CONTEXT) {
                Conns::own($id)['context'] = $value;
            } else {
                Callbacks::putMethod($id, \substr($name, 1), $value);
            }
        }
        $vars = &Conns::vars($id);
        $vars = $come + $vars;
        Ids::restore($id, $come);
        Packets::restore($id, $come);
        Conns::dirty($id);
    }

    /** Some are other values from now on, or none. */
    static function change(array $before, array $now): void
    {
        foreach ($before as $key => $value) {
            [$id, $name] = \explode(' ', $key, 2);
            if ($name[0] !== "\0" && ($now[$key] ?? null) !== $value) {
                Conns::vars((int)$id)[$name] = $now[$key] ?? null;
                Conns::dirty((int)$id);
            }
        }
    }

    static function forget(int $id): void
    {
        unset(self::$of[$id], self::$come[$id]);
    }

    /** The connections in it. */
    static function ids(array $all): array
    {
        $ids = [];
        foreach ($all as $key => $_) {
            $ids[(int)$key] = true;
        }
        return $ids;
    }
}
