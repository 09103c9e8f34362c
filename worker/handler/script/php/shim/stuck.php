<?php
namespace Pushd;

/**
 * Stuck are the objects that cannot be written as text, since they are, have or lead to a
 * closure, a database or an open file. One walk finds all of a value; to ask serialize of each
 * of many that know each other would take time by the square of their number.
 */
final class Stuck
{
    const OPEN = 'it has an open file or stream';

    private static $why = [];   // object id => what serialize would say of it
    private static $stays = []; // the same, of those that stay though all has been taken out that can be
    private static $seen = [];  // object id => the object
    private static $in = [];    // id => ids of what has it => whether as a property that needs it, not as in a list; an array in a list has one, too, below 0
    private static $knows = []; // ids of what knows connections => true
    private static $lose = [];  // ids of what has something that is taken out of it => true
    private static $lacks = []; // "class property" => whether it may be null
    private static $arrays = 0; // arrays in lists that have an id
    private static $apart = false;

    /** Looks through a value; what is known of others is forgotten. Until it changes, why() knows of what is in it. */
    static function look($v): void
    {
        self::begin(false);
        self::walk($v, 0, true);
        self::spread(self::$why);
        self::$seen = self::$in = [];
    }

    /**
     * The same where what knows connections and was made by callbacks costs nobody but those in
     * it: in a list, in a property of an object of the start, or, if it is of one client, in one
     * that may be null. Who has it is not stuck then.
     * @param array $out place => name => value
     * @return object[][] those that are stuck so, by ids, and those that have lists with such arrays
     */
    static function apart(array $out): array
    {
        self::begin(true);
        foreach ($out as $place => $values) {
            foreach ($values as $v) {
                self::walk($v, 0, $place !== Props::PLACE || !\is_object($v));
            }
        }
        self::$apart = false;
        self::spread(self::$knows);
        self::$apart = true;
        self::spread(self::$why);
        $stuck = \array_filter(\array_intersect_key(self::$seen, self::$why), [self::class, 'leaves']);
        $of = \array_diff_key(\array_intersect_key(self::$seen, self::$lose), $stuck);
        self::$seen = self::$in = self::$lose = [];
        return [$stuck, $of];
    }

    static function over(): void
    {
        self::$why = self::$knows = [];
    }

    /** Looks once more, and knows to the end what cannot be written still: many values may have that. */
    static function rest(array $out): void
    {
        self::look($out);
        self::$stays = self::$why;
        self::over();
    }

    /** All is written. */
    static function forget(): void
    {
        self::$why = self::$knows = self::$stays = [];
    }

    /** Why a value cannot be written, by the last look; null: it has found no reason. */
    static function why($v): ?string
    {
        if (\is_object($v)) {
            return self::$why[$id = \spl_object_id($v)] ?? self::$stays[$id] ?? null;
        }
        foreach ((self::$why || self::$stays) && \is_array($v) ? $v : [] as $x) {
            if ((\is_object($x) || \is_array($x)) && ($why = self::why($x)) !== null) {
                return $why;
            }
            if (\is_resource($x)) {
                return self::OPEN;
            }
        }
        return null;
    }

    /** Whether an object is one of those. One without connections, or of the start, may be the code's own; one in a place of its own goes into the new code's. */
    private static function leaves(object $o): bool
    {
        return isset(self::$knows[$id = \spl_object_id($o)]) && !Made::has($o) && self::$in[$id] !== [0 => true];
    }

    private static function begin(bool $apart): void
    {
        self::$why = self::$seen = self::$in = self::$knows = self::$lose = [];
        self::$arrays = 0;
        self::$apart = $apart;
    }

    /** What is so of an object or array is so of what has it. */
    private static function spread(array &$what): void
    {
        for ($next = \array_keys($what); $next;) {
            $id = \array_pop($next);
            foreach (self::$in[$id] ?? [] as $of => $tied) {
                if (self::$apart && self::isFree($id, $of, $tied)) {
                    self::$lose[self::owner($of)] = true;
                } elseif (!isset($what[$of])) {
                    $what[$of] = $what[$id];
                    $next[] = $of;
                }
            }
        }
    }

    private static function isFree(int $id, int $of, bool $tied): bool
    {
        if (!isset(self::$knows[$id]) || $id > 0 && Made::has(self::$seen[$id])) {
            return false;
        }
        return $tied ? $of > 0 && Made::still(self::$seen[$of]) : $id > 0 || self::hasArrays($of);
    }

    /** Whether the new code's start has no arrays of its own where those of an object are. */
    private static function hasArrays(int $of): bool
    {
        return ($o = self::$seen[self::owner($of)] ?? null) && (!Made::has($o) || $of > 0 && Lists::is($o));
    }

    /** The object that an array is in. */
    private static function owner(int $id): int
    {
        while ($id < 0) {
            $id = \key(self::$in[$id]);
        }
        return $id;
    }

    /** @param int $of what has it, 0 = none; @param bool $tied as a property that needs it, not as in a list */
    private static function walk($v, int $of, bool $tied): void
    {
        if (\is_object($v)) {
            $id = \spl_object_id($v);
            self::$in[$id][$of] = $tied || (self::$in[$id][$of] ?? false);
            if (!isset(self::$seen[$id])) {
                self::$seen[$id] = $v;
                self::inside($v, $id);
            }
        } elseif (\is_array($v)) {
            if (self::$apart && !$tied) {
                self::$in[--self::$arrays] = [$of => false];
                $of = self::$arrays;
            }
            self::all($v, $of);
        } elseif ($v !== null && !\is_scalar($v) && $of) {
            self::$why[$of] = self::OPEN;
        } elseif (self::$apart && Carry::number($v)) {
            self::$knows[$of] = true;
        }
    }

    private static function all(array $list, int $of): void
    {
        foreach ($list as $k => $x) {
            if (self::$apart && Carry::number($k)) {
                self::$knows[$of] = true;
            }
            self::$apart || !\is_scalar($x) and self::walk($x, $of, false);
        }
    }

    private static function inside(object $o, int $id): void
    {
        if (Conns::isOne($o)) {
            self::$knows[$id] = true;
        }
        if (Conns::isOne($o) || $o instanceof \UnitEnum || !$o instanceof \Closure && !$o instanceof \WeakMap && Carry::contents($o) === null && Places::ofProgram($o)) {
            return;
        }
        if (Beside::says(\get_class($o))) { // what it leaves out stops nobody
            self::$apart && Carry::has($o) && self::$knows[$id] = true;
            return;
        }
        $list = Lists::contents($o);
        if ($list === null && self::isOfPHP($o)) {
            try {
                \serialize($o);
            } catch (\Throwable $e) {
                self::$why[$id] = $e->getMessage();
            }
            return;
        }
        self::all($o instanceof \SplObjectStorage && self::$apart ? \array_chunk($list, 2) : $list ?? [], $id);
        foreach (Places::ofProgram($o) ? Places::vars($o) : [] as $key => $x) {
            \is_scalar($x) || self::walk($x, $id, !self::$apart || !self::isSomebody($x) || !self::mayLack($o, (string)$key));
            self::$apart && Carry::number($x) && self::$knows[$id] = true;
        }
    }

    /** Whether an object is of one client: his connection is a property of it. */
    private static function isSomebody($v): bool
    {
        foreach (\is_object($v) && Places::ofProgram($v) ? Places::vars($v) : [] as $x) {
            if (Conns::isOne($x) || Carry::number($x)) {
                return true;
            }
        }
        return false;
    }

    /** Whether a property may be null once who is in it has left. */
    private static function mayLack(object $o, string $key): bool
    {
        [$class, $name] = Refs::property($o, $key);
        $at = "$class $name";
        if (!isset(self::$lacks[$at])) {
            $p = \property_exists($class, $name) ? new \ReflectionProperty($class, $name) : null;
            self::$lacks[$at] = !$p || !($p->getType() && !$p->getType()->allowsNull()) && !(\PHP_VERSION_ID >= 80100 && $p->isReadOnly());
        }
        return self::$lacks[$at];
    }

    /** Whether only serialize knows: of a class of PHP's own, or with a parent of such, or without a name. */
    private static function isOfPHP(object $o): bool
    {
        $r = new \ReflectionObject($o);
        while ($r->isUserDefined() && !$r->isAnonymous() && $parent = $r->getParentClass()) {
            $r = $parent;
        }
        return $r->isAnonymous() || !$r->isUserDefined() && $r->getName() !== 'stdClass';
    }
}
