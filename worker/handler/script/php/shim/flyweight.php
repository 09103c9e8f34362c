<?php
namespace Pushd;

/** Session is the text that stands for a connection's properties while nobody uses them. */
final class Session
{
    const OURS = 'pushd.'; // what names begin with that are not the program's

    /** What of the properties can travel, as JSON; $pure becomes false when something cannot. */
    static function encode(array $vars, &$pure = true): string
    {
        foreach ($vars as $name => $value) {
            if ($value === null) {
                unset($vars[$name]);
            } elseif (!self::plain($value)) {
                unset($vars[$name]);
                $pure = false;
            }
        }
        if (!$vars) {
            return '';
        }
        $text = \json_encode($vars, \JSON_UNESCAPED_UNICODE | \JSON_UNESCAPED_SLASHES | \JSON_PRESERVE_ZERO_FRACTION);
        $text = $text !== false ? $text : '"' . \base64_encode(\serialize($vars)) . '"'; // bytes that are no UTF-8
        if (\strlen($text) <= Conns::SESSION) {
            return $text;
        }
        $raw = \serialize($vars); // which adds a few bytes to each value, and nothing to those of a text
        return \strlen($raw) < \strlen($text) ? $raw : $text;
    }

    static function decode(string $text): array
    {
        if ($text === '') {
            return [];
        }
        if ($text[0] === 'a') {
            return (array)\unserialize($text, ['allowed_classes' => false]);
        }
        if ($text[0] === '"') {
            return (array)\unserialize(\base64_decode($text), ['allowed_classes' => false]);
        }
        return (array)\json_decode($text, true);
    }

    static function plain($v): bool
    {
        if (!\is_array($v)) {
            return $v === null || \is_scalar($v);
        }
        foreach ($v as $x) {
            if (!self::plain($x)) {
                return false;
            }
        }
        return true;
    }
}

/** Connection is an object of a connection of pushd's; number 0 is one that PHP has opened itself. */
interface Connection
{
    public function pushdId(): int;
}

/**
 * Flyweight is such an object. It has no properties but its number; what the
 * program sets on it is in Conns.
 */
trait Flyweight
{
    private $pushdId = 0;
    private $buried; // [properties, what pushd told], once the connection is closed

    public function __construct(int $id)
    {
        $this->pushdId = $id;
    }

    /** The number that pushd knows the connection by. */
    public function pushdId(): int
    {
        return $this->pushdId;
    }

    public function __destruct()
    {
        if (isset(Conns::$held[$this->pushdId])) {
            Conns::released($this->pushdId);
        }
    }

    public function bury(array $vars, string $told): void
    {
        $this->buried = [$vars, $told];
    }

    protected function isBuried(): bool
    {
        return $this->buried !== null;
    }

    protected function told(int $part): string
    {
        return $this->buried !== null ? \explode("\0", $this->buried[1], 4)[$part] ?? '' : Conns::told($this->pushdId, $part);
    }

    public function &__get($name)
    {
        if ($this->buried !== null) {
            return $this->buried[0][$name];
        }
        $vars = &Conns::vars($this->pushdId);
        if (!isset($vars[$name])) {
            $default = $this->property($name);
            if ($default !== null) {
                return $default;
            }
            $vars[$name] = null; // $connection->list[] = 1 comes this way
            Conns::dirty($this->pushdId);
        } elseif (\is_array($vars[$name])) {
            Conns::dirty($this->pushdId);
        }
        return $vars[$name];
    }

    /** What a property is that the program has not set. */
    protected function property(string $name)
    {
        return null;
    }

    public function __set($name, $value)
    {
        if ($this->buried !== null) {
            $this->buried[0][$name] = $value;
            return;
        }
        $vars = &Conns::vars($this->pushdId);
        $vars[$name] = $value;
        Conns::dirty($this->pushdId);
    }

    public function __isset($name)
    {
        if ($this->buried !== null) {
            return isset($this->buried[0][$name]);
        }
        if (Conns::has($this->pushdId)) {
            $vars = &Conns::vars($this->pushdId);
            if (isset($vars[$name])) {
                return true;
            }
        }
        return $this->property($name) !== null;
    }

    /** Whether the program has set it, be it to null, or it is one that each has. */
    public function pushdHas(string $name): bool
    {
        $vars = $this->buried[0] ?? (Conns::has($this->pushdId) ? Conns::vars($this->pushdId) : []);
        return \array_key_exists($name, $vars) || $this->property($name) !== null;
    }

    public function __unset($name)
    {
        if ($this->buried !== null) {
            unset($this->buried[0][$name]);
            return;
        }
        $vars = &Conns::vars($this->pushdId);
        unset($vars[$name]);
        Conns::dirty($this->pushdId);
    }

    public function __serialize(): array
    {
        if ($this->pushdId === 0) {
            throw new \Exception('a connection that PHP has opened itself ends with the process');
        }
        if ($this->buried !== null) { // closed, and the program knows: for the next one it is nobody
            return [$this->pushdId, [\array_filter($this->buried[0], [Session::class, 'plain']), $this->buried[1]]];
        }
        Carry::$conns[$this->pushdId] = true;
        return [$this->pushdId];
    }

    public function __unserialize(array $data): void
    {
        $this->comes($data);
    }

    private function comes(array $data): void
    {
        $this->pushdId = (int)$data[0];
        if (isset($data[1])) {
            $this->buried = $data[1];
            $this->closed();
            return;
        }
        Carry::$conns[$this->pushdId] = true;
        Conns::adopt($this->pushdId, $this);
    }

    public function __clone()
    {
        throw new \Error('a connection cannot be cloned');
    }
}
