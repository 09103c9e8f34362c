<?php
namespace Pushd;

/**
 * Captured is a variable that closures of callbacks have captured, and closures in those, or
 * that is a static of one. Each is a place of its own, with one property of its name. Into an
 * object, and into what others refer to as well, may be written from outside; what is a static,
 * or one closure's alone, can only be read. Globals are a place already.
 */
#[\AllowDynamicProperties]
final class Captured
{
    const DEPTH = 3; // of closures in closures

    /** Places that can only be read: place => true. */
    public static $shut = [];

    /** place => [Captured, ["$NAME of WHERE" for each that has it, at last the name, "" where others have that, too]]. */
    static function all(array $callbacks): array
    {
        $all = $places = [];
        foreach ($callbacks as $where => $f) {
            self::in($f, (string)\strtok((string)$where, "\0"), self::DEPTH, $all);
        }
        $counts = \array_count_values(\array_column($all, 1));
        foreach ($all as [$one, $name, $names, $open]) {
            $names[] = $counts[$name] === 1 ? "\$$name" : '';
            $places["use $names[0]"] = [$one, $names];
            if ($open) {
                unset(self::$shut["use $names[0]"]);
            } else {
                self::$shut["use $names[0]"] = true;
            }
        }
        return $places;
    }

    /** @param array $all which variable it is => [Captured, its name, names, whether it may be written] */
    private static function in($f, string $where, int $depth, array &$all): void
    {
        $variables = $f instanceof \Closure ? (new \ReflectionFunction($f))->getStaticVariables() : [];
        foreach (\array_keys($variables) as $name) {
            if ($variables[$name] instanceof \Closure) {
                $depth > 0 && self::in($variables[$name], "$where use \$$name", $depth - 1, $all);
                continue;
            }
            $reference = \ReflectionReference::fromArrayElement($variables, $name);
            $is = $reference ? $reference->getId() : (\is_object($variables[$name]) ? \spl_object_id($variables[$name]) : "$name $where");
            if (self::isGlobal($name, $variables[$name], $reference)) {
                continue;
            }
            if (!isset($all[$is])) {
                $one = new self();
                $one->$name = &$variables[$name];
                $all[$is] = [$one, $name, [], $reference || \is_object($variables[$name])];
            }
            $all[$is][2][] = "\$$name of $where";
        }
    }

    private static function isGlobal(string $name, $value, ?\ReflectionReference $reference): bool
    {
        if (!\array_key_exists($name, $GLOBALS) || $GLOBALS[$name] !== $value) {
            return false;
        }
        if (\is_object($value)) {
            return true;
        }
        $globals = $GLOBALS;
        $global = $reference ? \ReflectionReference::fromArrayElement($globals, $name) : null;
        return $global !== null && $global->getId() === $reference->getId();
    }
}
