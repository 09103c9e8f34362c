<?php
namespace Pushd;

/**
 * Named are the names by which a program knows its Tables and Atomics as its start is
 * over: where in variables, properties and arrays each of them is, and as what callbacks
 * have captured it. One may have several; a name of two is nobody's.
 */
final class Named
{
    const MOST = 200000; // values that are looked at

    /** @param array $ones number => Table or Atomic; gives number => names */
    static function all(array $roots, array $ones): array
    {
        $numbers = [];
        foreach ($ones as $i => $one) {
            $numbers[\spl_object_id($one)] = $i;
        }
        $names = [];
        foreach (self::found($roots, $numbers) as $name => $of) {
            if (\count($of) === 1) {
                $names[\key($of)][] = (string)$name;
            }
        }
        return $names;
    }

    /** name => numbers, what is near the top first: of a program with much in it the rest is not looked at. */
    private static function found(array $roots, array $numbers): array
    {
        $found = $seen = [];
        $left = self::MOST;
        $row = self::tops($roots);
        for ($depth = 0; $row && $depth <= Carry::DEPTH; $depth++) {
            $next = [];
            foreach ($row as [$top, $name, $v]) {
                $id = \is_object($v) ? \spl_object_id($v) : null;
                if (isset($numbers[$id])) {
                    $found[$name][$numbers[$id]] = true;
                    continue;
                }
                if ($id !== null && isset($seen[$top][$id])) {
                    continue;
                }
                $id === null || $seen[$top][$id] = true;
                foreach (self::inside($v, $name) as $n => $x) {
                    if (--$left < 0) {
                        return $found;
                    }
                    if (\is_array($x) || \is_object($x)) {
                        $next[] = [$top, $n, $x];
                    }
                }
            }
            $row = $next;
        }
        return $found;
    }

    /** [which it is, name, value] of all places and of what callbacks have captured. */
    private static function tops(array $roots): array
    {
        $tops = [];
        $owners = Owners::names(Program::$serving->callbacks());
        foreach (Places::all($roots) as $place => $values) {
            if (($roots[$place] ?? null) instanceof Captured) { // see below
                continue;
            }
            foreach ($values as $name => $v) {
                $place = (string)$place;
                foreach (\array_filter($owners[$place] ?? [$place], 'strlen') ?: [''] as $at) {
                    $tops[] = [\count($tops), $at === '' ? "\$$name" : ($at[0] === ':' ? \substr($at, 2) . "::\$$name" : "$at->$name"), $v];
                }
            }
        }
        foreach (self::captured() as $name => $v) {
            $tops[] = [\count($tops), $name, $v];
        }
        return $tops;
    }

    /** name => value. A variable is known by its name alone, unless another callback has something else by that name. */
    private static function captured(): array
    {
        $all = $names = [];
        foreach (SwooleProgram::$all as $port) {
            foreach ($port->pushdOn as $event => $f) {
                foreach ($f instanceof \Closure ? (new \ReflectionFunction($f))->getStaticVariables() : [] as $name => $v) {
                    $all[$name][$port === SwooleProgram::$all[0] ? $event : "$event of " . $port->pushdName()] = $v;
                }
            }
        }
        foreach ($all as $name => $of) {
            $first = \reset($of);
            $same = \array_filter($of, static function ($v) use ($first) {
                return $v === $first;
            });
            foreach ($same === $of ? ['' => $first] : $of as $event => $v) {
                $names[\ltrim("$event use \$$name")] = $v;
            }
        }
        return $names;
    }

    /** name => value of what is in one. */
    private static function inside($v, string $name): \Generator
    {
        if (\is_array($v)) {
            foreach ($v as $k => $x) {
                yield $name . "[$k]" => $x;
            }
        } elseif ($v instanceof \Closure) {
            foreach ((new \ReflectionFunction($v))->getStaticVariables() as $k => $x) {
                yield "$name use \$$k" => $x;
            }
        } elseif (\is_object($v) && !$v instanceof \Swoole\Table && !$v instanceof \Swoole\Atomic) {
            $all = $v instanceof \stdClass || isset(Places::$owners[\spl_object_id($v)]) && !Places::isServer($v); // these, too, by each of their names
            foreach ($all ? (array)$v : Carry::contents($v) ?? [] as $k => $x) {
                $k = (string)$k;
                yield $name . '->' . (($at = \strrpos($k, "\0")) === false ? $k : \substr($k, $at + 1)) => $x;
            }
        }
    }
}
