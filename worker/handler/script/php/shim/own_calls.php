<?php
// In a handler process PHP has these switched off (disable_functions), so that they can
// mean something else: sleep() in coroutines, see Nap, those of uploads for forms that
// pushd's classes have read, posix_getppid() for whoever signals the master, the others for
// connections. Their objects are gone after a callback unless the
// program holds them, and others in the process that comes next: what a program files by
// spl_object_id($conn) it finds again since that is the number, and what has such a key
// is seen and carried as all is that has numbers of connections. They have no properties
// of their own: property_exists() looks where these are.
if (\PHP_VERSION_ID < 80100) {
    return; // which cannot define them anew, or whose hashes do not say the id
}
if (!\function_exists('spl_object_id')) {
    function spl_object_id(object $object): int
    {
        return \Pushd\Identity::id($object);
    }
}
if (!\function_exists('spl_object_hash')) {
    function spl_object_hash(object $object): string
    {
        return \Pushd\Identity::hash($object);
    }
}
if (!\function_exists('sleep')) {
    function sleep(int $seconds): int
    {
        if ($seconds < 0) {
            throw new \ValueError('sleep(): Argument #1 ($seconds) must be greater than or equal to 0');
        }
        return \Pushd\Nap::take($seconds);
    }
}
if (!\function_exists('usleep')) {
    function usleep(int $microseconds): void
    {
        if ($microseconds < 0) {
            throw new \ValueError('usleep(): Argument #1 ($microseconds) must be greater than or equal to 0');
        }
        \Pushd\Nap::take($microseconds / 1e6);
    }
}
if (!\function_exists('property_exists')) {
    function property_exists($object_or_class, string $property): bool
    {
        return \Pushd\Identity::has($object_or_class, $property);
    }
}
if (!\function_exists('is_uploaded_file')) {
    function is_uploaded_file(string $filename): bool
    {
        return \class_exists(\Pushd\Uploads::class, false) && \Pushd\Uploads::has($filename);
    }
}
if (!\function_exists('move_uploaded_file')) {
    function move_uploaded_file(string $from, string $to): bool
    {
        return is_uploaded_file($from) && \Pushd\Uploads::move($from, $to);
    }
}
if (!\function_exists('posix_getppid') && \extension_loaded('posix')) {
    function posix_getppid(): int
    {
        return \Pushd\Program::parentPid();
    }
}
