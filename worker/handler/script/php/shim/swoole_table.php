<?php
namespace Swoole {

    use Pushd\Columns;
    use Pushd\Program;
    use Pushd\Shared;

    /**
     * Table keeps rows by key. One process serves all connections of a server, so
     * an array is as good as Swoole's shared memory; the next process gets its rows.
     */
    class Table implements \IteratorAggregate, \Countable, \ArrayAccess
    {
        const TYPE_INT = 1, TYPE_FLOAT = 2, TYPE_STRING = 3;

        public $size, $memorySize = 0;
        private $columns = [], $rows = [];
        private $fresh = []; // written as the program started: key => true
        private $used = false; // written since

        public function __construct($size, $conflictProportion = 0.2)
        {
            $this->size = (int)$size;
        }

        public function column($name, $type, $size = 0)
        {
            $this->columns[$name] = [(int)$type, (int)$size];
            return true;
        }

        public function create()
        {
            Shared::add($this);
            return true;
        }

        public function pushdColumns(): array
        {
            return $this->columns;
        }

        public function pushdContent(): array
        {
            return $this->rows;
        }

        /** Takes rows that a Table of these columns had; what of them has no place here: [in words, key => values]. */
        public function pushdFill(array $rows, array $columns): array
        {
            $mine = $this->used ? $this->rows : \array_intersect_key($this->rows, $this->fresh);
            $said = $lost = [];
            if ($columns !== $this->columns) {
                [$rows, $said, $lost] = Columns::convert($rows, $columns, $this->columns);
            }
            $all = $mine + $rows;
            $this->rows = \array_slice($all, 0, \max(0, $this->size), true);
            if ($more = \array_diff_key($all, $this->rows)) {
                $said[] = Columns::rows(\count($more)) . " beyond its size of $this->size";
                $lost = $more + $lost;
            }
            $this->used = true; // of two processes that become one it has the rows of both
            return [$said, $lost];
        }

        public function destroy()
        {
            $this->rows = [];
            return true;
        }

        public function set($key, $row)
        {
            $key = (string)$key;
            if (!isset($this->rows[$key]) && \count($this->rows) >= $this->size) {
                \trigger_error("Swoole\\Table::set(): the table has its $this->size rows already", \E_USER_WARNING);
                return false;
            }
            if (Program::$serving !== null) {
                if (Shared::$starts) {
                    $this->fresh[$key] = true;
                } else {
                    $this->used = true;
                }
            }
            foreach ($this->columns as $name => [$type, $size]) {
                $this->rows[$key][$name] = Columns::fit($type, $size, $row[$name] ?? $this->rows[$key][$name] ?? 0);
            }
            return true;
        }

        public function get($key, $field = null)
        {
            $row = $this->rows[(string)$key] ?? false;
            return $field === null || $row === false ? $row : $row[$field] ?? false;
        }

        public function exist($key)
        {
            return isset($this->rows[(string)$key]);
        }

        public function exists($key)
        {
            return $this->exist($key);
        }

        public function del($key)
        {
            $there = $this->exist($key);
            unset($this->rows[(string)$key]);
            return $there;
        }

        public function delete($key)
        {
            return $this->del($key);
        }

        public function incr($key, $column, $by = 1)
        {
            $value = ($this->rows[(string)$key][$column] ?? 0) + $by;
            return $this->set($key, [$column => $value]) ? $this->rows[(string)$key][$column] : false;
        }

        public function decr($key, $column, $by = 1)
        {
            return $this->incr($key, $column, -$by);
        }

        public function getSize()
        {
            return $this->size;
        }

        public function getMemorySize()
        {
            return $this->memorySize;
        }

        public function stats()
        {
            return ['num' => \count($this->rows)];
        }

        #[\ReturnTypeWillChange]
        public function count()
        {
            return \count($this->rows);
        }

        #[\ReturnTypeWillChange]
        public function getIterator()
        {
            return new \ArrayIterator($this->rows);
        }

        #[\ReturnTypeWillChange]
        public function offsetExists($key)
        {
            return $this->exist($key);
        }

        #[\ReturnTypeWillChange]
        public function offsetGet($key)
        {
            return $this->get($key);
        }

        #[\ReturnTypeWillChange]
        public function offsetSet($key, $row)
        {
            $this->set($key, $row);
        }

        #[\ReturnTypeWillChange]
        public function offsetUnset($key)
        {
            $this->del($key);
        }
    }

    /** Atomic is a number of this process, and of the one that comes next. */
    class Atomic
    {
        private $value, $first, $mine = false; // it is newer than what may be carried here
        private $filled = false;

        public function __construct($value = 0)
        {
            $this->value = $this->first = (int)$value;
            Shared::add($this);
        }

        /** With what the program has made it of: as that there is nothing to lose. */
        public function pushdContent(): array
        {
            return [$this->value, $this->first];
        }

        public function pushdColumns(): ?array
        {
            return null;
        }

        public function pushdFill(array $value): array
        {
            if ($this->filled) { // of two processes that become one: no id is given twice
                $this->value = \max($this->value, $value[0]);
            } elseif (!$this->mine) {
                $this->value = $value[0];
            }
            $this->filled = true;
            return [[], []];
        }

        public function add($by = 1)
        {
            $this->mine = $this->mine || Program::$serving !== null && !Shared::$starts;
            return $this->value += $by;
        }

        public function sub($by = 1)
        {
            return $this->add(-$by);
        }

        public function get()
        {
            return $this->value;
        }

        public function set($value)
        {
            $this->value = (int)$value;
            $this->mine = Program::$serving !== null;
        }

        public function cmpset($is, $set)
        {
            if ($this->value !== (int)$is) {
                return false;
            }
            $this->set($set);
            return true;
        }
    }

    /** Lock is always free: callbacks of one process run one after the other. */
    class Lock
    {
        const RWLOCK = 1, FILELOCK = 2, MUTEX = 3, SEM = 4, SPINLOCK = 5; // OpenSwoole's

        public $errCode = 0;

        public function __construct($type = \SWOOLE_MUTEX, $file = '')
        {
        }

        public function lock()
        {
            return true;
        }

        public function lockwait($seconds = 1.0)
        {
            return true;
        }

        public function trylock()
        {
            return true;
        }

        public function lock_read()
        {
            return true;
        }

        public function trylock_read()
        {
            return true;
        }

        public function unlock()
        {
            return true;
        }

        public function destroy()
        {
        }
    }
}
