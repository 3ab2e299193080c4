//! How many parts a short message is sent as: GSM 03.38 and UCS-2, as 3GPP TS 23.038 and 23.040
//! have it.

/// What the characters of a message are sent as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Seven bits a character: 160 in one part, 153 in each of several.
    Gsm7,
    /// Sixteen bits: 70, and 67.
    Ucs2,
}

/// The size of a short message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    pub encoding: Encoding,
    /// Septets or 16-bit units.
    pub units: usize,
    /// How many messages the recipient's bill counts.
    pub parts: usize,
}

/// The basic character set of GSM 03.38, without the escape.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
    ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its extension: two septets each.
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

pub fn segments(text: &str) -> Segments {
    let mut septets = 0;
    let plain = text.chars().all(|c| {
        septets += if EXTENDED.contains(c) { 2 } else { 1 };
        EXTENDED.contains(c) || BASIC.contains(c)
    });
    let (encoding, sizes) = if plain {
        (Encoding::Gsm7, text.chars().map(|c| 1 + usize::from(EXTENDED.contains(c))).collect())
    } else {
        (Encoding::Ucs2, text.chars().map(char::len_utf16).collect::<Vec<_>>())
    };
    let units: usize = sizes.iter().sum();
    let (one, several) = match encoding {
        Encoding::Gsm7 => (160, 153),
        Encoding::Ucs2 => (70, 67),
    };
    let parts = if units <= one { 1 } else { split(&sizes, several) };
    Segments { encoding, units, parts }
}

/// Parts of at most `room` units; a character of two units is not torn apart.
fn split(sizes: &[usize], room: usize) -> usize {
    let (mut parts, mut used) = (1, 0);
    for size in sizes {
        if used + size > room {
            parts += 1;
            used = 0;
        }
        used += size;
    }
    parts
}

/// `text`, or as much of it as goes into `parts_max` parts: cut at a space where one is near, with
/// the number of characters that are missing behind it.
pub(super) fn cut(text: &str, parts_max: usize) -> String {
    if segments(text).parts <= parts_max {
        return text.to_owned();
    }
    let all: Vec<char> = text.chars().collect();
    let cut_at = |kept: usize| {
        let mut kept = kept;
        let space = all.iter().take(kept).rposition(|c| *c == ' ');
        if let Some(space) = space.filter(|space| kept - space <= 20) {
            kept = space;
        }
        let head: String = all.iter().take(kept).collect();
        // Three full stops: the one sign of an ellipsis is not in GSM 03.38.
        format!("{head}... (+{})", all.len() - kept)
    };
    let (mut fits, mut too_long) = (0, all.len());
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        if segments(&cut_at(middle)).parts <= parts_max {
            fits = middle;
        } else {
            too_long = middle;
        }
    }
    cut_at(fits)
}

#[cfg(test)]
mod tests;
