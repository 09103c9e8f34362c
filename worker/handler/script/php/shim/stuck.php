<?php
namespace Pushd;

/**
 * Stuck are the objects that cannot be written as text, since they are, have or lead to a
 * closure, a database or an open file. One walk finds all of a value; to ask serialize of each
 * of many that know each other would take time by the square of their number.
 */
final class Stuck
{
    private static $why = [];  // object id => what serialize would say of it
    private static $seen = []; // object id => true
    private static $in = [];   // object id => ids of the objects that have it

    /** Looks through a value; what is known of others is forgotten. Until it changes, why() knows of what is in it. */
    static function look($v): void
    {
        self::$why = self::$seen = self::$in = [];
        self::walk($v, 0);
        for ($next = \array_keys(self::$why); $next;) {
            $id = \array_pop($next);
            foreach (self::$in[$id] ?? [] as $of) {
                if (!isset(self::$why[$of])) {
                    self::$why[$of] = self::$why[$id];
                    $next[] = $of;
                }
            }
        }
        self::$seen = self::$in = [];
    }

    static function over(): void
    {
        self::$why = [];
    }

    /** Why a value cannot be written, by the last look; null: it has found no reason. */
    static function why($v): ?string
    {
        if (\is_object($v)) {
            return self::$why[\spl_object_id($v)] ?? null;
        }
        foreach (self::$why && \is_array($v) ? $v : [] as $x) {
            if ((\is_object($x) || \is_array($x)) && ($why = self::why($x)) !== null) {
                return $why;
            }
        }
        return null;
    }

    /** @param int $of the object that has it, 0 = none */
    private static function walk($v, int $of): void
    {
        if (\is_object($v)) {
            $id = \spl_object_id($v);
            self::$in[$id][] = $of;
            if (!isset(self::$seen[$id])) {
                self::$seen[$id] = true;
                self::inside($v, $id);
            }
        } elseif (\is_array($v)) {
            foreach ($v as $x) {
                \is_scalar($x) || self::walk($x, $of);
            }
        } elseif ($v !== null && !\is_scalar($v) && $of) {
            self::$why[$of] = 'it has an open file or stream';
        }
    }

    private static function inside(object $o, int $id): void
    {
        if (Conns::isOne($o) || $o instanceof \UnitEnum || !$o instanceof \Closure && !$o instanceof \WeakMap && Carry::contents($o) === null && Places::ofProgram($o)) {
            return;
        }
        if (Beside::says(\get_class($o))) { // what it leaves out stops nobody
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
        self::walk(Places::ofProgram($o) ? \array_merge(\array_values((array)$o), $list ?? []) : $list, $id);
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
