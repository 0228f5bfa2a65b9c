//! Finds and opens the driver and cuBLASLt. Once open, the driver is found by name; cuBLASLt's functions are taken from
//! the library that was opened (`products/calls.rs`).
//!
//! The driver belongs to the system. cuBLASLt comes with a CUDA toolkit or, far more often, with a Python environment
//! that has PyTorch (`nvidia/cublas/lib` or `nvidia/cu13/lib` among its packages).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::CudaError;
use super::card::driver_version;

/// Environment variable with a folder of CUDA libraries that takes precedence over all others.
pub const LIBRARIES_VARIABLE: &str = "JURY_CUDA_LIBRARIES";

/// The driver's name in errors: a machine without it has no card.
pub const DRIVER: &str = "the CUDA driver (libcuda.so.1)";

const DRIVER_FILES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
const PRODUCTS: [&str; 3] = ["libcublasLt.so", "libcublasLt.so.13", "libcublasLt.so.12"];
/// For drivers before CUDA 13, which cannot run CUDA 13's libraries.
const FORMER_PRODUCTS: [&str; 2] = ["libcublasLt.so.12", "libcublasLt.so"];

static PRODUCTS_LIBRARY: OnceLock<&'static Library> = OnceLock::new();
static OPENED: OnceLock<Result<(), CudaError>> = OnceLock::new();

/// Opens the libraries, once for the whole process; later calls return the first call's result. Searches `folder`
/// first, then the folder in [`LIBRARIES_VARIABLE`], and those of the system, of toolkits and of Python environments:
/// the active one, and those whose Python is on PATH.
///
/// # Errors
/// A library is not found.
pub fn open_libraries(folder: Option<&Path>) -> Result<(), CudaError> {
    OPENED.get_or_init(|| open_all(folder)).clone()
}

/// cuBLASLt, once it has been opened.
pub(super) fn products_library() -> Option<&'static Library> {
    PRODUCTS_LIBRARY.get().copied()
}

/// Path of an opened library: the first file mapped by this process whose name starts with `name`, such as
/// `libcuda.so`. `None` if the system does not report it.
pub fn opened_file(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    mapped(&maps, name)
}

fn mapped(maps: &str, name: &str) -> Option<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let is_it = |path: &&Path| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
    };
    paths.into_iter().find(is_it).map(Path::to_owned)
}

fn open_all(folder: Option<&Path>) -> Result<(), CudaError> {
    let chosen: Vec<PathBuf> = folder
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::var_os(LIBRARIES_VARIABLE).map(PathBuf::from))
        .collect();
    if open(&DRIVER_FILES, &chosen).is_none() {
        let mut advice = "it comes with NVIDIA's driver for this machine's card".to_owned();
        if let Some(folder) = std::env::var_os(LIBRARIES_VARIABLE) {
            advice += &format!("; {LIBRARIES_VARIABLE} names {}, which has none", folder.display());
        }
        return Err(CudaError::Library { name: DRIVER, advice });
    }
    let folders = [chosen, toolkits()].concat();
    let is_former = driver_version().is_ok_and(|version| version < 13_000);
    let products: &[&str] = if is_former { &FORMER_PRODUCTS } else { &PRODUCTS };
    let Some(products) = open(products, &folders) else {
        let advice = format!(
            "it comes with the CUDA toolkit, with PyTorch, or by `pip install nvidia-cublas`; if it is here, \
             name its folder: {LIBRARIES_VARIABLE}=FOLDER"
        );
        return Err(CudaError::Library { name: "cuBLASLt (libcublasLt.so.13 or .12)", advice });
    };
    let _ = PRODUCTS_LIBRARY.set(products);
    Ok(())
}

/// Opens the first of these libraries that exists, in the folders or in the system's search path. It stays open.
#[allow(unsafe_code)]
fn open(names: &[&str], folders: &[PathBuf]) -> Option<&'static Library> {
    let in_folders = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    let paths = in_folders.filter(|path| path.is_file()).chain(names.iter().map(PathBuf::from));
    for path in paths {
        // SAFETY: NVIDIA's libraries, and our emulated ones, run no code at load that is unsafe for this process.
        if let Ok(library) = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
            return Some(Box::leak(Box::new(library)));
        }
    }
    None
}

/// Folders where toolkits and Python environments have cuBLASLt.
fn toolkits() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        folders.extend(std::env::var_os(variable).map(|home| PathBuf::from(home).join("lib64")));
    }
    folders.push(PathBuf::from("/usr/local/cuda/lib64"));
    let named = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(std::env::var_os);
    let active = named.into_iter().flatten().map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let environments =
        active.chain(std::env::split_paths(&path).filter_map(|programs| environment_of(&programs)));
    folders.extend(environments.flat_map(|home| python_folders(&home.join("lib"))));
    folders
}

/// The Python environment that a folder of programs belongs to: container images often put one on PATH without setting
/// VIRTUAL_ENV.
fn environment_of(programs: &Path) -> Option<PathBuf> {
    let home = programs.parent()?;
    let is_one = programs.join("python3").exists() && home.join("pyvenv.cfg").is_file();
    is_one.then(|| home.to_owned())
}

/// `python3.N/site-packages/nvidia/*/lib` below a folder.
fn python_folders(lib: &Path) -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    below(lib)
        .into_iter()
        .flat_map(|python| below(&python.join("site-packages").join("nvidia")))
        .map(|package| package.join("lib"))
        .filter(|folder| folder.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_opened_library_is_told() {
        let maps = "7f00-7f01 r--p 00000000 08:01 42                 /usr/lib/libcudart.so.12\n\
                    7f02-7f03 r-xp 00000000 08:01 43                 /usr/lib/a b/libcuda.so.580.1\n";
        assert_eq!(mapped(maps, "libcuda.so"), Some("/usr/lib/a b/libcuda.so.580.1".into()));
        assert_eq!(mapped(maps, "libcublasLt.so"), None);
    }

    #[test]
    fn libraries_of_python_packages_are_found() {
        let home = tempfile::tempdir().unwrap();
        let lib = home.path().join("lib/python3.12/site-packages/nvidia/cu13/lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::create_dir_all(home.path().join("lib/python3.12/site-packages/torch")).unwrap();
        assert_eq!(python_folders(&home.path().join("lib")), [lib]);
        assert!(python_folders(&home.path().join("nowhere")).is_empty());
    }

    #[test]
    fn an_environment_on_the_path_is_found_though_nobody_activated_it() {
        let home = tempfile::tempdir().unwrap();
        let programs = home.path().join("bin");
        std::fs::create_dir(&programs).unwrap();
        std::fs::write(programs.join("python3"), "").unwrap();
        assert_eq!(environment_of(&programs), None);
        std::fs::write(home.path().join("pyvenv.cfg"), "").unwrap();
        assert_eq!(environment_of(&programs), Some(home.path().to_owned()));
    }
}
