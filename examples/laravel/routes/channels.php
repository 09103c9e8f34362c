<?php

use Illuminate\Support\Facades\Broadcast;

// Who may listen. Laravel's own auth endpoint, /broadcasting/auth, asks these
// and signs for pushd with the app's secret.

Broadcast::channel('App.Models.User.{id}', fn ($user, $id) => (int) $user->id === (int) $id);

// Presence: what is returned is what the others see of this user.
Broadcast::channel('room.{id}', fn ($user, $id) => ['id' => $user->id, 'name' => $user->name]);
