//! HELP of a container: the lines that Redis prints, for the subcommands that exist here.

use crate::command::context::Call;

/// Replies with `lines`, and with what HELP says of itself.
pub(super) fn reply_help(call: &mut Call<'_>, lines: &[&'static str]) {
    call.reply.array(lines.len() + 2);
    for line in lines.iter().chain(&["HELP", "    Prints this help."]) {
        call.reply.simple(line);
    }
}
