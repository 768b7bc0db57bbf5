mod dying;
mod hub;
mod pretender;
mod strangers;
mod suite;
mod worker;
mod world;
