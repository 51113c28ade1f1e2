"""Actors of writes that tests make directly in the store."""

from pipecd.model.actor import Actor, ActorKind

TESTER = Actor(kind=ActorKind.OPERATOR, id="tester", name="Tester", action="test")
