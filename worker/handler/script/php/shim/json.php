<?php
namespace Pushd;

/** Json is what goes to others as JSON, or an exception that names what of it cannot. */
final class Json
{
    const DEEP = 20; // levels that are looked at for it

    /** $name is what the program calls it, '' = its keys are such names. */
    static function of($value, string $name = ''): string
    {
        $text = \json_encode($value, \JSON_UNESCAPED_UNICODE | \JSON_UNESCAPED_SLASHES);
        if ($text !== false) {
            return $text;
        }
        $code = \json_last_error();
        $why = \json_last_error_msg();
        if ($code === \JSON_ERROR_UTF8 && ($found = self::bytes($value, $name, self::DEEP))) {
            $why = "$found[0] is not UTF-8: " . self::shown($found[1]);
        } else {
            $why = ($name === '' ? 'it' : $name) . " has no JSON: $why";
        }
        throw new \JsonException("pushd: $why", $code);
    }

    /** The first text, or name of one, that is not UTF-8: [where, what]. */
    private static function bytes($value, string $at, int $deep): ?array
    {
        if (\is_string($value)) {
            return self::isText($value) ? null : [$at, $value];
        }
        if ($value instanceof \JsonSerializable) {
            return $deep > 0 ? self::bytes($value->jsonSerialize(), $at, $deep - 1) : null;
        }
        if ($deep === 0 || !\is_array($value) && !\is_object($value)) {
            return null;
        }
        foreach (\is_object($value) ? \get_object_vars($value) : $value as $key => $v) {
            if (!self::isText((string)$key)) {
                return [($at === '' ? 'a key' : "a key of $at"), (string)$key];
            }
            if ($found = self::bytes($v, $at === '' ? (string)$key : "{$at}[" . (\is_int($key) ? $key : "\"$key\"") . ']', $deep - 1)) {
                return $found;
            }
        }
        return null;
    }

    private static function isText(string $s): bool
    {
        return (bool)\preg_match('//u', $s);
    }

    /** The beginning, as PHP's source would have it. */
    private static function shown(string $s): string
    {
        return '"' . \preg_replace_callback('/[^ !#-[\]-~]/', static function ($m) {
            return \sprintf('\x%02x', \ord($m[0]));
        }, \substr($s, 0, 40)) . '"' . (\strlen($s) > 40 ? ' …' : '');
    }
}
