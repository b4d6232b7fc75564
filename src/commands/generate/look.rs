//! Finished pictures as people look at them: in the terminal (`--preview`) and together on one sheet
//! (`--sheet`).

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::preview::{Protocol, drawing, terminal};
use crate::cli::Generate;
use crate::fail;
use crate::files::{Existing, folder_of, make_folder, read_bounded, write_whole};
use crate::media::png;
use crate::media::sheet::{Cell, sheet};
use crate::progress::Reporter;

/// As large as pictures of ours are read.
const LARGEST_PICTURE_BYTES: u64 = 64 << 20;

/// What a command line wants to look at.
pub struct Look {
    previews: bool,
    sheet: Option<PathBuf>,
    force: bool,
    cells: Vec<Cell>,
    /// Files that are no pictures.
    passed_over: usize,
}

impl Look {
    /// Checked before any work.
    ///
    /// # Errors
    /// `Usage` for a sheet that is no PNG, `CannotWrite` for one whose place is taken.
    pub fn of(args: &Generate) -> Result<Self> {
        if let Some(path) = &args.sheet {
            check_place(path, args.force)?;
        }
        Ok(Self {
            previews: args.preview,
            sheet: args.sheet.clone(),
            force: args.force,
            cells: Vec::new(),
            passed_over: 0,
        })
    }

    /// Looks at a file that is in its place. What cannot be shown is no failure of the job.
    pub fn at(&mut self, path: &Path, seed: u64, reporter: &mut Reporter) {
        if !self.previews && self.sheet.is_none() {
            return;
        }
        let is_png = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
        let Some(picture) = is_png.then(|| png::read(path).ok()).flatten() else {
            self.passed_over += 1;
            return;
        };
        if self.sheet.is_some() {
            self.cells.push(Cell::of(&picture.frame, seed));
        }
        if let (true, Some(cells)) = (self.previews, terminal()) {
            let protocol = Protocol::of(|name| std::env::var(name).ok());
            let bytes = read_bounded(path, LARGEST_PICTURE_BYTES).unwrap_or_default();
            reporter.picture(&drawing(&picture.frame, &bytes, protocol, cells));
        }
    }

    /// Writes the sheet, and says what was not shown.
    ///
    /// # Errors
    /// `CannotWrite` or `Io` when the sheet cannot be written.
    pub fn finish(self, reporter: &mut Reporter) -> Result<()> {
        if self.previews && terminal().is_none() {
            reporter.note("--preview shows nothing, as stderr is no terminal");
        }
        if self.passed_over > 0 {
            reporter.note(&format!(
                "{} files are no PNG pictures and were not shown",
                self.passed_over
            ));
        }
        let Some(path) = &self.sheet else {
            return Ok(());
        };
        let Some(made) = sheet(&self.cells) else {
            reporter.note(&format!(
                "no picture was made, and so no sheet `{}`",
                path.display()
            ));
            return Ok(());
        };
        check_place(path, self.force)?;
        make_folder(folder_of(path))?;
        let about = format!("{} pictures, each with its seed below", self.cells.len());
        write_whole(path, &png::encode_sheet(&made, &about)?, Existing::Replace)?;
        reporter.info(&format!(
            "sheet of {} pictures: {}",
            self.cells.len(),
            path.display()
        ));
        Ok(())
    }
}

/// An earlier sheet may give way, and nothing else.
fn check_place(path: &Path, force: bool) -> Result<()> {
    let shown = path.display();
    if path
        .extension()
        .is_none_or(|ending| !ending.eq_ignore_ascii_case("png"))
    {
        fail!(Usage, "--sheet `{shown}` does not end in .png"; "name a PNG file, such as sheet.png");
    }
    if path.symlink_metadata().is_ok() && !force && !png::is_sheet(path) {
        fail!(CannotWrite, "--sheet `{shown}`: something that is no sheet of ours is already there, and it is kept";
            "choose another file, or overwrite it with --force");
    }
    Ok(())
}
