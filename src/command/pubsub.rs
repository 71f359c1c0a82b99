//! SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their opposites, PUBLISH, SPUBLISH, PUBSUB.
//!
//! The answer to a subscription stands in the client's output before the first message can: it is
//! written at once, messages are taken from the mailbox behind it. The answer to the end of one
//! comes after the last message: what is in the mailbox by then is written first.

use crate::command::context::{Call, Context};
use crate::command::error::CommandError;
use crate::command::help::reply_help;
use crate::command::spec::{Arity, CommandSpec, Flags, Group, KeySpec, Outcome, Run};
use crate::protocol::OutputBuffer;
use crate::pubsub::Kind;

const ANY_TIME: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);
const LISTENING: Flags = ANY_TIME.and(Flags::NO_SCRIPT).and(Flags::SUBSCRIBED);
/// A shard channel stands where a key would, so that clients of a cluster find its node.
const SHARD_CHANNELS: &[KeySpec] = &[KeySpec::all(KeySpec::NOT_A_KEY)];

/// The rows of this family.
#[rustfmt::skip]
pub static COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "SUBSCRIBE", group: Group::PubSub, arity: Arity::AtLeast(2), flags: LISTENING,
        since: "2.0.0", cost: "O(n log m) for n channels with m subscribers each",
        syntax: "SUBSCRIBE channel [channel ...]",
        summary: "Listen for messages published to the given channels.",
        run: Run::Client(|context, call| subscribe(Kind::Channel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "UNSUBSCRIBE", group: Group::PubSub, arity: Arity::AtLeast(1), flags: LISTENING,
        since: "2.0.0", cost: "O(n log m) for n channels with m subscribers each",
        syntax: "UNSUBSCRIBE [channel [channel ...]]",
        summary: "Stop listening for messages posted to the given channels.",
        run: Run::Client(|context, call| unsubscribe(Kind::Channel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PSUBSCRIBE", group: Group::PubSub, arity: Arity::AtLeast(2), flags: LISTENING,
        since: "2.0.0", cost: "O(n log m) for n patterns with m subscribers each",
        syntax: "PSUBSCRIBE pattern [pattern ...]",
        summary: "Listen for messages published to channels matching the given patterns.",
        run: Run::Client(|context, call| subscribe(Kind::Pattern, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PUNSUBSCRIBE", group: Group::PubSub, arity: Arity::AtLeast(1), flags: LISTENING,
        since: "2.0.0", cost: "O(n log m) for n patterns with m subscribers each",
        syntax: "PUNSUBSCRIBE [pattern [pattern ...]]",
        summary: "Stop listening for messages posted to channels matching the given patterns.",
        run: Run::Client(|context, call| unsubscribe(Kind::Pattern, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SSUBSCRIBE", group: Group::PubSub, arity: Arity::AtLeast(2), flags: LISTENING,
        keys: SHARD_CHANNELS,
        since: "7.0.0", cost: "O(n log m) for n shard channels with m subscribers each",
        syntax: "SSUBSCRIBE shardchannel [shardchannel ...]",
        summary: "Listen for messages published to the given shard channels.",
        run: Run::Client(|context, call| subscribe(Kind::ShardChannel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SUNSUBSCRIBE", group: Group::PubSub, arity: Arity::AtLeast(1), flags: LISTENING,
        keys: SHARD_CHANNELS,
        since: "7.0.0", cost: "O(n log m) for n shard channels with m subscribers each",
        syntax: "SUNSUBSCRIBE [shardchannel [shardchannel ...]]",
        summary: "Stop listening for messages posted to the given shard channels.",
        run: Run::Client(|context, call| unsubscribe(Kind::ShardChannel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PUBLISH", group: Group::PubSub, arity: Arity::Exact(3),
        flags: ANY_TIME.and(Flags::FAST), since: "2.0.0",
        cost: "O(n+m) for n subscribers of the channel and m patterns of all clients",
        syntax: "PUBLISH channel message", summary: "Post a message to a channel.",
        run: Run::Client(|context, call| publish(false, context, call)), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SPUBLISH", group: Group::PubSub, arity: Arity::Exact(3),
        keys: &[KeySpec::one(KeySpec::NOT_A_KEY)], flags: ANY_TIME.and(Flags::FAST),
        since: "7.0.0", cost: "O(n) for n subscribers of the shard channel",
        syntax: "SPUBLISH shardchannel message", summary: "Post a message to a shard channel.",
        run: Run::Client(|context, call| publish(true, context, call)), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "PUBSUB", group: Group::PubSub, arity: Arity::AtLeast(2),
        since: "2.8.0", cost: "Depends on subcommand.", syntax: "PUBSUB",
        summary: "A container for Pub/Sub commands.",
        run: Run::Container(SUBCOMMANDS), ..CommandSpec::BASE
    },
];

/// The subcommands of PUBSUB.
#[rustfmt::skip]
static SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "CHANNELS", group: Group::PubSub, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "2.8.0", cost: "O(n) for n active channels", syntax: "PUBSUB CHANNELS [pattern]",
        summary: "List active channels.",
        run: Run::Client(|context, call| names(Kind::Channel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "NUMPAT", group: Group::PubSub, arity: Arity::Exact(2), flags: ANY_TIME,
        since: "2.8.0", cost: "O(1)", syntax: "PUBSUB NUMPAT",
        summary: "Get the count of unique patterns pattern subscriptions.",
        run: Run::Client(count_patterns), ..CommandSpec::BASE
    },
    CommandSpec {
        name: "NUMSUB", group: Group::PubSub, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "2.8.0", cost: "O(n) for n channels", syntax: "PUBSUB NUMSUB [channel [channel ...]]",
        summary: "Get the count of subscribers for channels.",
        run: Run::Client(|context, call| listeners(Kind::Channel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SHARDCHANNELS", group: Group::PubSub, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "7.0.0", cost: "O(n) for n active shard channels",
        syntax: "PUBSUB SHARDCHANNELS [pattern]", summary: "List active shard channels.",
        run: Run::Client(|context, call| names(Kind::ShardChannel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "SHARDNUMSUB", group: Group::PubSub, arity: Arity::AtLeast(2), flags: ANY_TIME,
        since: "7.0.0", cost: "O(n) for n shard channels",
        syntax: "PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]",
        summary: "Get the count of subscribers for shard channels.",
        run: Run::Client(|context, call| listeners(Kind::ShardChannel, context, call)),
        ..CommandSpec::BASE
    },
    CommandSpec {
        name: "HELP", group: Group::PubSub, arity: Arity::Exact(2),
        flags: Flags::LOADING.and(Flags::STALE),
        since: "6.2.0", cost: "O(1)", syntax: "PUBSUB HELP",
        summary: "Show helpful text about the different subcommands.",
        run: Run::Client(help), ..CommandSpec::BASE
    },
];

/// What the answers to a subscription and to its end begin with.
fn words(kind: Kind) -> (&'static [u8], &'static [u8]) {
    match kind {
        Kind::Channel => (b"subscribe", b"unsubscribe"),
        Kind::Pattern => (b"psubscribe", b"punsubscribe"),
        Kind::ShardChannel => (b"ssubscribe", b"sunsubscribe"),
    }
}

/// Answers that something is listened to now, or no longer.
fn confirm(
    kind: Kind,
    word: &[u8],
    name: Option<&[u8]>,
    context: &mut Context,
    call: &mut Call<'_>,
) {
    let (channels, patterns, shard_channels) = context.subscriptions.counts();
    call.reply.push(3);
    call.reply.bulk(word);
    match name {
        Some(name) => call.reply.bulk(name),
        None => call.reply.null(),
    }
    call.reply.count(match kind {
        Kind::Channel | Kind::Pattern => channels + patterns,
        Kind::ShardChannel => shard_channels,
    });
    context.note_subscriptions();
    // These come also after CLIENT REPLY OFF, as the messages do.
    context.skip_reply = false;
}

/// Writes the messages that wait for the client.
fn write_mail(context: &Context, call: &mut Call<'_>) {
    let mut messages = OutputBuffer::new();
    context.client.mailbox.take_into(&mut messages, usize::MAX);
    call.reply.append(messages);
}

fn subscribe(kind: Kind, context: &mut Context, call: &mut Call<'_>) -> Outcome {
    for name in call.args.iter_from(1) {
        context.subscriptions.subscribe(kind, name);
        confirm(kind, words(kind).0, Some(name), context, call);
    }
    // Channels may have been taken from its user before it could be seen that it listens.
    context.check_subscriptions();
    Ok(())
}

fn unsubscribe(kind: Kind, context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let word = words(kind).1;
    let end = |name: &[u8], context: &mut Context, call: &mut Call<'_>| {
        context.subscriptions.unsubscribe(kind, name);
        write_mail(context, call);
        confirm(kind, word, Some(name), context, call);
    };
    let given = call.args;
    if given.len() > 1 {
        given.iter_from(1).for_each(|name| end(name, context, call));
        return Ok(());
    }
    let all = context.subscriptions.all(kind);
    all.iter().for_each(|name| end(name, context, call));
    if all.is_empty() {
        confirm(kind, word, None, context, call);
    }
    Ok(())
}

fn publish(is_shard_channel: bool, context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let (channel, payload) = (call.args.at(1), call.args.at(2));
    let services = &context.services;
    let limits = services.config.output_limits();
    let receivers = services.pubsub.publish(is_shard_channel, channel, payload, limits);
    if !context.skip_reply {
        // Who publishes to itself gets the message before the answer.
        write_mail(context, call);
    }
    call.reply.count(receivers);
    Ok(())
}

fn names(kind: Kind, context: &mut Context, call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 3 {
        return Err(CommandError::unknown_or_arity(call.args.at(1), "PUBSUB"));
    }
    let names = context.services.pubsub.names(kind, call.args.get(2));
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

fn listeners(kind: Kind, context: &mut Context, call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    call.reply.array(2 * (args.len() - 2));
    for name in args.iter_from(2) {
        call.reply.bulk(name);
        call.reply.count(context.services.pubsub.listeners(kind, name));
    }
    Ok(())
}

fn count_patterns(context: &mut Context, call: &mut Call<'_>) -> Outcome {
    call.reply.count(context.services.pubsub.count(Kind::Pattern));
    Ok(())
}

fn help(_context: &mut Context, call: &mut Call<'_>) -> Outcome {
    reply_help(call, HELP);
    Ok(())
}

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
];
